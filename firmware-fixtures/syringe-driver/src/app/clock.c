#include "clock.h"

#include <stdbool.h>

#include "board.h"

static volatile bool ticked;
static uint64_t cycles;
static uint32_t before;

/* A free-running counter and not the ticks: an emulator that is late loses ticks, but no time. */
static uint64_t count(void)
{
    uint32_t now = TIMER1->value;
    cycles += before - now; /* it counts down */
    before = now;
    return cycles;
}

void clock_start(void)
{
    TIMER1->reload = TIMER1->value = before = 0xFFFFFFFF;
    TIMER1->control = 1;
    SYSTICK->reload = CLOCK_HZ / 1000 * TICK_MS - 1;
    SYSTICK->value = 0;
    SYSTICK->control = 7; /* processor clock, interrupt, on */
    /* QEMU's event loop is told of a new timer by a wake-up which a write to the EEPROM can swallow: it then sleeps
     * on, and nothing ticks. So nothing is written before the first tick; from then on the loop wakes by itself. */
    while (!ticked)
        wait_for_interrupt();
}

uint32_t clock_ms(void)
{
    interrupts_off();
    uint64_t now = count();
    interrupts_on();
    return (uint32_t)(now / (CLOCK_HZ / 1000));
}

void clock_handler(void)
{
    ticked = true;
    count(); /* often enough that the counter does not wrap unseen; it also ends the wait of the main loop */
}
