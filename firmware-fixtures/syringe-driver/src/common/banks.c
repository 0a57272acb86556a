#include "banks.h"

#include <string.h>

#include "crc.h"
#include "eeprom.h"

#define LARGEST 256

static uint32_t *crc_of(void *record, size_t size)
{
    return (uint32_t *)record + size / 4 - 1;
}

bool banks_read(uint32_t address, uint32_t distance, uint32_t magic, void *record, size_t size)
{
    uint32_t other[LARGEST / 4];
    bool found = false;
    for (unsigned bank = 0; bank < 2; bank++) {
        struct bank_head *head = (struct bank_head *)other;
        if (!eeprom_read(address + bank * distance, other, size) || head->magic != magic ||
            *crc_of(other, size) != crc32(other, size - 4))
            continue;
        if (found && (int32_t)(head->sequence - ((struct bank_head *)record)->sequence) < 0)
            continue;
        memcpy(record, other, size);
        found = true;
    }
    return found;
}

bool banks_write(uint32_t address, uint32_t distance, void *record, size_t size)
{
    uint32_t back[LARGEST / 4];
    struct bank_head *head = record;
    head->sequence++;
    *crc_of(record, size) = crc32(record, size - 4);
    uint32_t place = address + (head->sequence & 1) * distance;
    return eeprom_write(place, record, size) && eeprom_read(place, back, size) && !memcmp(back, record, size);
}
