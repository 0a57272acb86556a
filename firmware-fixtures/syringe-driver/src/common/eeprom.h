/* The 64 KiB EEPROM on the I2C lines of shield 1: all that outlives a power cut. */
#ifndef SD_EEPROM_H
#define SD_EEPROM_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Layout; building/storage.py writes the delivered content. */
#define EEPROM_BOOT_RECORD 0x0000u /* two banks */
#define EEPROM_BOOT_BANK 0x0100u
#define EEPROM_SETTINGS 0x0400u /* two banks */
#define EEPROM_SETTINGS_BANK 0x0400u
#define EEPROM_AUDIT 0x1000u
#define EEPROM_SLOT_A 0x4000u
#define EEPROM_SLOT_SIZE 0x6000u

/* False when the EEPROM does not acknowledge. A write is whole or not at all, whatever its length. */
bool eeprom_read(uint32_t address, void *into, size_t length);
bool eeprom_write(uint32_t address, const void *from, size_t length);
#endif
