/* What is burnt into this unit; unit.c is written by the build from unit/ and update-keys/. */
#ifndef SD_UNIT_H
#define SD_UNIT_H
#include <stdint.h>

extern const char unit_serial[];
extern const uint8_t unit_secret[32];
extern const uint8_t maker_key[32];
#endif
