/* Vector table and start-up of the application. */
#include <stdint.h>
#include <string.h>

#include "clock.h"
#include "fault.h"
#include "uart.h"
#include "watchdog.h"

extern uint32_t __stack_top[], __data_start[], __data_end[], __data_from[], __bss_start[], __bss_end[];
int main(void);

static _Noreturn void app_start(void)
{
    memcpy(__data_start, __data_from, (size_t)((char *)__data_end - (char *)__data_start));
    memset(__bss_start, 0, (size_t)((char *)__bss_end - (char *)__bss_start));
    main();
    die("the application ended", CAUSE_FAULT);
}

static void unexpected(void)
{
    die("unexpected interrupt", CAUSE_FAULT);
}

#define FAULT (void *)fault_handler
#define NONE (void *)unexpected
#define LINE(n) (void *)uart##n##_handler

__attribute__((section(".vectors"), used)) static const void *const vectors[16 + 32] = {
    __stack_top, (void *)app_start, (void *)watchdog_handler, FAULT, FAULT, FAULT, FAULT, 0,
    0, 0, 0, NONE, NONE, 0, NONE, (void *)clock_handler,
    /* UART 0 to 2 receive and send, …, UART 3 (Arm DAI0385, table of interrupts) */
    LINE(0), LINE(0), LINE(1), LINE(1), LINE(2), LINE(2), NONE, NONE,
    NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE,
    NONE, NONE, LINE(3), LINE(3), NONE, NONE, NONE, NONE,
    NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE,
};
