/* Restarting the device, and why it was last restarted. */
#ifndef SD_RESET_H
#define SD_RESET_H

enum reset_cause { CAUSE_POWER_ON, CAUSE_LINE, CAUSE_RESTART, CAUSE_FAULT, CAUSE_WATCHDOG, CAUSE_SELF_TEST };

_Noreturn void reset_device(enum reset_cause cause);

/* The cause of the present start; takes it, so that the next unasked reset reads as the reset line. */
enum reset_cause reset_cause_take(void);
const char *reset_cause_name(enum reset_cause cause);
#endif
