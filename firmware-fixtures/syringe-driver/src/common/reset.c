#include "reset.h"

#include "board.h"

/* After power-on memory is zero, so that anything without this mark is a power-on. */
#define MARK 0x5D200000u

_Noreturn void reset_device(enum reset_cause cause)
{
    interrupts_off();
    *RESET_CAUSE = MARK | (uint32_t)cause;
    SCB_AIRCR = AIRCR_RESET;
    for (;;)
        ;
}

enum reset_cause reset_cause_take(void)
{
    uint32_t word = *RESET_CAUSE;
    *RESET_CAUSE = MARK | CAUSE_LINE;
    return (word & ~0xFFu) == MARK ? (enum reset_cause)(word & 0xFF) : CAUSE_POWER_ON;
}

const char *reset_cause_name(enum reset_cause cause)
{
    static const char *const names[] = {"power-on", "reset-line", "restart", "fault", "watchdog", "self-test"};
    return (unsigned)cause < sizeof names / sizeof *names ? names[cause] : "unknown";
}
