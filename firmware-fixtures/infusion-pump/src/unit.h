/* What the maker put into this very unit: its secret, the code on its label, its delivered state (VP1-ICD 11.5, 14). */
#ifndef VP1_UNIT_H
#define VP1_UNIT_H
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define UNIT_SECRET_SIZE 32

/* Reads the emulator's fw_cfg items (they stand for a secure element); before privileges are dropped. */
void unit_load(void);

const uint8_t *unit_secret(void);
bool unit_setup_code_is(const char *code);

/* Users, configuration and keys as delivered, for the very first start; NULL if there are none. The caller owns it. */
json_t *unit_delivery(void);
#endif
