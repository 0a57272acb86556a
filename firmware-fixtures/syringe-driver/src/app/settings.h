/* What the unit keeps over a power cut: accounts, therapy, settings. */
#ifndef SD_SETTINGS_H
#define SD_SETTINGS_H
#include <stdbool.h>
#include <stdint.h>

#include "banks.h"
#include "rom.h"

enum account { OPERATOR, SERVICE, ACCOUNT_COUNT, NOBODY = ACCOUNT_COUNT };

enum setting {
    SETTING_BRIGHTNESS,
    SETTING_ALARM_VOLUME,
    SETTING_OCCLUSION_LIMIT,
    SETTING_HIGHEST_RATE,
    SETTING_SYRINGE_SIZE,
    SETTING_COUNT
};

struct setting_rule {
    const char *name;
    uint16_t lowest, highest;
};
extern const struct setting_rule setting_rules[SETTING_COUNT];

struct kept {
    struct bank_head head;
    uint32_t boots;
    uint32_t rate; /* 0.1 ml/h */
    uint8_t running;
    uint8_t refused[ACCOUNT_COUNT]; /* log-ins in a row */
    uint8_t locked; /* bit for each account */
    uint16_t values[SETTING_COUNT];
    uint16_t unused;
    struct {
        uint8_t salt[16];
        uint8_t hash[PIN_HASH_SIZE];
    } pins[ACCOUNT_COUNT];
    uint32_t crc;
};
_Static_assert(sizeof(struct kept) == 132, "building/storage.py packs it");

extern struct kept kept;

/* False when there is nothing valid: no log-in is possible then, and the driver does not guess a therapy. */
bool settings_load(void);
/* Writes `kept`; a failure raises the alarm of the storage. */
void settings_save(void);
bool settings_readable(void);
#endif
