/* Flaws put in on purpose, switched on by name (VP1-ICD 10). Fixture only. */
#ifndef VP1_WEAKNESSES_H
#define VP1_WEAKNESSES_H
#include <stdbool.h>
#include <stddef.h>

enum weakness {
    WEAK_DEFAULT_PASSWORD,
    WEAK_NO_LOCKOUT,
    WEAK_LOCKOUT_PER_CONNECTION,
    WEAK_CAN_NO_AUTH,
    WEAK_CAN_COUNTER_UNCHECKED,
    WEAK_MODBUS_PROTECTED_WRITE,
    WEAK_UNDECLARED_PORT,
    WEAK_UDS_CONSTANT_SEED,
    WEAK_UDS_MEMORY_BUG,
    WEAK_SYSRQ_ON_BREAK, /* switched on by rcS */
    WEAK_BOOTLOADER_PROMPT, /* lies in the boot loader: read back from what it passed to the kernel */
    WEAKNESS_COUNT
};

/* Reads the comma-separated names in `path` and the kernel command line. Names not known here stay off. */
void weaknesses_load(const char *path);
bool weak(enum weakness which);

/* The active set, comma-separated, or "-". */
void weaknesses_text(char *into, size_t size);

/* Opens TCP 2323 if that weakness is on. */
void undeclared_port_start(void);
#endif
