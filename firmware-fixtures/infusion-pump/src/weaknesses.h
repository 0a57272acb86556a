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
    WEAK_DOWNGRADE_CHECK_ON_FILE_NAME,
    WEAK_UPDATE_SIGNATURE_UNCHECKED,
    WEAK_UPDATE_COMPATIBLE_UNCHECKED,
    WEAK_UPDATE_BY_ANY_ROLE,
    WEAK_STATUS_GAP_DURING_UPDATE,
    WEAK_ROLLBACK_RESTORES_OLD_USERS,
    WEAK_SELF_TEST_SKIPPED,
    WEAK_TWO_UPDATES_AT_ONCE,
    WEAK_UPDATE_LOSES_SETTINGS,
    WEAK_VERSION_STAYS_OLD,
    WEAK_TOKEN_SURVIVES_LOG_OFF,
    WEAK_TOKEN_SURVIVES_PASSWORD_CHANGE,
    WEAK_IDLE_LOG_OFF_MISSING,
    WEAK_SESSION_LIMIT_MISSING,
    WEAK_ROLE_UNCHECKED,
    WEAK_SERVICE_READS_PATIENTS,
    WEAK_USER_ENUMERATION,
    WEAK_LOG_IN_TIME_TELLS_USERS,
    WEAK_PASSWORD_RULE_UNCHECKED,
    WEAK_RESTORE_WRITES_BEFORE_VERIFY,
    WEAK_RESTORE_ORDER_UNCHECKED,
    WEAK_RESTORE_FOREIGN_FAMILY,
    WEAK_BACKUP_PATIENT_IN_CLEAR,
    WEAK_BACKUP_HOLDS_KEY,
    WEAK_PATIENTS_IN_CLEAR_AT_REST,
    WEAK_PATIENT_IN_CRASH_DUMP,
    WEAK_PATH_TRAVERSAL_IN_EXPORT_NAME,
    WEAK_COMMAND_INJECTION_IN_WARD_NAME,
    WEAK_AUDIT_RECORD_MISSING_FOR_SERVICE,
    WEAK_ERASE_LEAVES_STORE,
    WEAK_SETUP_CODE_WORKS_TWICE,
    WEAK_SHELL_ESCAPE,
    WEAK_VERSION_DIFFERS,
    WEAK_SYSRQ_ON_BREAK, /* switched on by rcS */
    WEAK_BOOTLOADER_PROMPT, /* lies in the boot loader: read back from what it passed to the kernel */
    WEAKNESS_COUNT
};

/* Room for the names of all, with commas. */
#define WEAKNESSES_TEXT 2048

/* Reads the comma-separated names in `path` and the kernel command line. Names not known here stay off. */
void weaknesses_load(const char *path);
bool weak(enum weakness which);

/* The active set, comma-separated, or "-". */
void weaknesses_text(char *into, size_t size);

/* Opens TCP 2323 if that weakness is on. */
void undeclared_port_start(void);
#endif
