/* The watchdog, which the boot loader has started. */
#ifndef SD_WATCHDOG_H
#define SD_WATCHDOG_H

/* Once in each turn of the main loop. */
void watchdog_feed(void);
void watchdog_handler(void);
#endif
