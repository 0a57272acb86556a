/* Vector table and start-up of the boot loader. It has no initialised data: what it changes lies on the stack. */
#include <stdint.h>

#include "boot.h"
#include "fault.h"

extern uint32_t __stack_top[];

static void unexpected(void)
{
    die("unexpected interrupt in the boot loader", CAUSE_FAULT);
}

__attribute__((section(".vectors"), used)) static const void *const vectors[16] = {
    __stack_top,   (void *)boot_main,     (void *)watchdog_handler, (void *)fault_handler, (void *)fault_handler,
    (void *)fault_handler, (void *)fault_handler, &rom_services,        0,                     0,
    0,             (void *)unexpected,    (void *)unexpected,       0,                     (void *)unexpected,
    (void *)unexpected,
};
