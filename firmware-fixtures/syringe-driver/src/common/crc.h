/* Checksums: against damage on a line or in the EEPROM, never against people. */
#ifndef SD_CRC_H
#define SD_CRC_H
#include <stddef.h>
#include <stdint.h>

/* CRC-16/IBM-3740 (polynomial 0x1021, start 0xFFFF): the vendor line. */
uint16_t crc16_line(const void *bytes, size_t length);
/* CRC-16/MODBUS (Modbus over serial line V1.02, 6.2.2). */
uint16_t crc16_modbus(const void *bytes, size_t length);
/* CRC-32 of IEEE 802.3: records in the EEPROM. */
uint32_t crc32(const void *bytes, size_t length);
#endif
