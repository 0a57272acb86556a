#include "restart.h"

#include <stdbool.h>

#include "clock.h"
#include "debug.h"
#include "reset.h"

#define LEAVE_MS 200u /* time for the answer to leave */

static bool asked;
static uint32_t asked_at;

void restart_soon(void)
{
    asked = true;
    asked_at = clock_ms();
    debug_print("restarting");
}

void restart_poll(void)
{
    if (asked && clock_ms() - asked_at >= LEAVE_MS)
        reset_device(CAUSE_RESTART);
}
