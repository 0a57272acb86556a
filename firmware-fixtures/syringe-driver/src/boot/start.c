/* Vector table and start-up of the boot loader. It has no initialised data: what it changes lies on the stack. */
#include <stdint.h>

#include "boot.h"
#include "fault.h"

extern uint32_t __stack_top[];

static void unexpected(void)
{
    die("unexpected interrupt in the boot loader", CAUSE_FAULT);
}

#define FAULT (void *)fault_handler
#define NONE (void *)unexpected

__attribute__((section(".vectors"), used)) static const void *const vectors[16] = {
    __stack_top, (void *)boot_main, FAULT, FAULT, FAULT, FAULT, FAULT, &rom_services,
    0, 0, 0, NONE, NONE, 0, NONE, NONE,
};
