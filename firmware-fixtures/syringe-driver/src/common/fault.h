/* Dying: a word about it on the debug console, then a reset. */
#ifndef SD_FAULT_H
#define SD_FAULT_H
#include "reset.h"

/* Writes `FATAL: why` on the debug console, waiting for each byte, and resets. */
_Noreturn void die(const char *why, enum reset_cause cause);
/* Writes at once, without interrupts: for the boot loader and the dying. */
void console_write_now(const char *string);
void fault_handler(void);
#endif
