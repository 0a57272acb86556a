/* Time since the application started. */
#ifndef SD_CLOCK_H
#define SD_CLOCK_H
#include <stdint.h>

#define TICK_MS 10u

/* Returns with the first tick. Until then the time is 0 and the EEPROM may be written; not while this runs. */
void clock_start(void);
/* Milliseconds; wraps after 49 days, so compare differences. */
uint32_t clock_ms(void);
void clock_handler(void);
#endif
