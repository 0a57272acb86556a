/* Which slot is in use and which one is on trial: shared by boot loader and application. */
#ifndef SD_BOOT_RECORD_H
#define SD_BOOT_RECORD_H
#include <stdbool.h>
#include <stdint.h>

#include "banks.h"

#define NO_SLOT 0xFFu
#define TRIAL_STARTS 2u

enum trial_end { TRIAL_NONE, TRIAL_CONFIRMED, TRIAL_ROLLED_BACK };

struct boot_record {
    struct bank_head head;
    uint64_t floor; /* no image below this version starts; raised when a version confirms itself */
    uint8_t active, trial, starts_left;
    uint8_t last_trial; /* enum trial_end */
    uint32_t reserved;
    uint32_t unused;
    uint32_t crc;
};
_Static_assert(sizeof(struct boot_record) == 32, "building/storage.py packs it");

/* A record that cannot be read is taken as that of a unit as delivered: slot A, no floor. */
void boot_record_read(struct boot_record *record);
bool boot_record_write(struct boot_record *record);
uint32_t slot_address(unsigned slot);
#endif
