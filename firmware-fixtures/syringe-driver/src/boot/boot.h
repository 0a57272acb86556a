/* What the parts of the boot loader share. */
#ifndef SD_BOOT_H
#define SD_BOOT_H
#include "rom.h"

extern const struct rom rom_services;
_Noreturn void boot_main(void);
#endif
