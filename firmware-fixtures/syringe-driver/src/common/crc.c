#include "crc.h"

uint16_t crc16_line(const void *bytes, size_t length)
{
    const uint8_t *at = bytes;
    uint32_t crc = 0xFFFF;
    while (length--) {
        crc ^= (uint32_t)*at++ << 8;
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1;
    }
    return (uint16_t)crc;
}

static uint32_t reflected(const void *bytes, size_t length, uint32_t crc, uint32_t polynomial)
{
    const uint8_t *at = bytes;
    while (length--) {
        crc ^= *at++;
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ polynomial : crc >> 1;
    }
    return crc;
}

uint16_t crc16_modbus(const void *bytes, size_t length)
{
    return (uint16_t)reflected(bytes, length, 0xFFFF, 0xA001);
}

uint32_t crc32(const void *bytes, size_t length)
{
    return ~reflected(bytes, length, 0xFFFFFFFF, 0xEDB88320);
}
