/* A record kept twice: each write goes into the older bank, so that a power cut leaves the old or the new one. */
#ifndef SD_BANKS_H
#define SD_BANKS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Begins every kept record; the CRC-32 over the whole record but itself is its last word. */
struct bank_head {
    uint32_t magic;
    uint32_t sequence;
};

/* Reads the newer valid bank into `record`; false when neither is valid. */
bool banks_read(uint32_t address, uint32_t distance, uint32_t magic, void *record, size_t size);
/* Writes `record` with the next sequence number; true when it reads back. */
bool banks_write(uint32_t address, uint32_t distance, void *record, size_t size);
#endif
