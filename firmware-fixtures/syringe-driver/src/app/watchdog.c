#include "watchdog.h"

#include <stdbool.h>

#include "board.h"
#include "fault.h"

static volatile bool warned;

void watchdog_feed(void)
{
    warned = false;
    WATCHDOG->clear = 1;
}

/* The first time is a warning only: on an emulator that got no processor for a while, time has run out although
 * nothing hangs. The main loop takes the warning back; a hanging one cannot. */
void watchdog_handler(void)
{
    if (warned)
        die("watchdog: the application hangs", CAUSE_WATCHDOG);
    warned = true;
    WATCHDOG->clear = 1;
}
