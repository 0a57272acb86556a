#include "boot_record.h"

#include "eeprom.h"

#define MAGIC 0x54424453u /* "SDBT" */

void boot_record_read(struct boot_record *record)
{
    if (!banks_read(EEPROM_BOOT_RECORD, EEPROM_BOOT_BANK, MAGIC, record, sizeof *record))
        *record = (struct boot_record){.head = {.magic = MAGIC}, .active = 0, .trial = NO_SLOT};
}

bool boot_record_write(struct boot_record *record)
{
    return banks_write(EEPROM_BOOT_RECORD, EEPROM_BOOT_BANK, record, sizeof *record);
}

uint32_t slot_address(unsigned slot)
{
    return EEPROM_SLOT_A + slot * EEPROM_SLOT_SIZE;
}
