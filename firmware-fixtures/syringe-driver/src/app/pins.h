/* PINs: kept as keyed hashes only. */
#ifndef SD_PINS_H
#define SD_PINS_H
#include <stdbool.h>

#include "settings.h"

bool pin_right(enum account account, const char *pin);
/* 6 to 8 digits, no run, not all the same. */
bool pin_follows_rule(const char *pin);
void pin_set(enum account account, const char *pin);
#endif
