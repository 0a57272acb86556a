/* Time since the application started. */
#ifndef SD_CLOCK_H
#define SD_CLOCK_H
#include <stdint.h>

#define TICK_MS 10u

void clock_start(void);
/* Milliseconds; wraps after 49 days, so compare differences. */
uint32_t clock_ms(void);
void clock_handler(void);
#endif
