#define _GNU_SOURCE
#include "weaknesses.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util.h"
#include "version.h"

static const char *const names[WEAKNESS_COUNT] = {
    [WEAK_DEFAULT_PASSWORD] = "default-password",
    [WEAK_NO_LOCKOUT] = "no-lockout",
    [WEAK_LOCKOUT_PER_CONNECTION] = "lockout-per-connection",
    [WEAK_CAN_NO_AUTH] = "can-no-auth",
    [WEAK_CAN_COUNTER_UNCHECKED] = "can-counter-unchecked",
    [WEAK_MODBUS_PROTECTED_WRITE] = "modbus-protected-write",
    [WEAK_UNDECLARED_PORT] = "undeclared-port",
    [WEAK_UDS_CONSTANT_SEED] = "uds-constant-seed",
    [WEAK_UDS_MEMORY_BUG] = "uds-memory-bug",
    [WEAK_DOWNGRADE_CHECK_ON_FILE_NAME] = "downgrade-check-on-file-name",
    [WEAK_UPDATE_SIGNATURE_UNCHECKED] = "update-signature-unchecked",
    [WEAK_UPDATE_COMPATIBLE_UNCHECKED] = "update-compatible-unchecked",
    [WEAK_UPDATE_BY_ANY_ROLE] = "update-by-any-role",
    [WEAK_STATUS_GAP_DURING_UPDATE] = "status-gap-during-update",
    [WEAK_ROLLBACK_RESTORES_OLD_USERS] = "rollback-restores-old-users",
    [WEAK_SELF_TEST_SKIPPED] = "self-test-skipped",
    [WEAK_TWO_UPDATES_AT_ONCE] = "two-updates-at-once",
    [WEAK_UPDATE_LOSES_SETTINGS] = "update-loses-settings",
    [WEAK_PATCH_OPENS_PORT] = "patch-opens-port",
    [WEAK_MINOR_DROPS_SERVICE] = "minor-drops-service",
    [WEAK_ALARM_HELD_BACK_DURING_UPDATE] = "alarm-held-back-during-update",
    [WEAK_ALARM_MISSING_ON_MODBUS] = "alarm-missing-on-modbus",
    [WEAK_VERSION_STAYS_OLD] = "version-stays-old-on-one-surface-after-update",
    [WEAK_TOKEN_SURVIVES_LOG_OFF] = "token-survives-log-off",
    [WEAK_TOKEN_SURVIVES_PASSWORD_CHANGE] = "token-survives-password-change",
    [WEAK_IDLE_LOG_OFF_MISSING] = "idle-log-off-missing",
    [WEAK_BUSY_BUS_KEEPS_SESSIONS] = "busy-bus-keeps-sessions",
    [WEAK_SESSION_LIMIT_MISSING] = "session-limit-missing",
    [WEAK_ROLE_UNCHECKED] = "role-unchecked",
    [WEAK_SERVICE_READS_PATIENTS] = "service-reads-patients",
    [WEAK_USER_ENUMERATION] = "user-enumeration",
    [WEAK_LOG_IN_TIME_TELLS_USERS] = "log-in-time-tells-users",
    [WEAK_PASSWORD_RULE_UNCHECKED] = "password-rule-unchecked",
    [WEAK_RESTORE_WRITES_BEFORE_VERIFY] = "restore-writes-before-verify",
    [WEAK_RESTORE_ORDER_UNCHECKED] = "restore-order-unchecked",
    [WEAK_RESTORE_FOREIGN_FAMILY] = "restore-foreign-family",
    [WEAK_BACKUP_PATIENT_IN_CLEAR] = "backup-patient-in-clear",
    [WEAK_BACKUP_HOLDS_KEY] = "backup-holds-key",
    [WEAK_PATIENTS_IN_CLEAR_AT_REST] = "patients-in-clear-at-rest",
    [WEAK_PATIENT_IN_CRASH_DUMP] = "patient-in-crash-dump",
    [WEAK_EXPORT_NAMES_PATIENTS] = "export-names-patients",
    [WEAK_EXPORT_PSEUDONYM_IS_DIGEST] = "export-pseudonym-is-digest",
    [WEAK_PATH_TRAVERSAL_IN_EXPORT_NAME] = "path-traversal-in-export-name",
    [WEAK_COMMAND_INJECTION_IN_WARD_NAME] = "command-injection-in-ward-name",
    [WEAK_AUDIT_RECORD_MISSING_FOR_SERVICE] = "audit-record-missing-for-service",
    [WEAK_AUDIT_DELETABLE] = "audit-deletable",
    [WEAK_AUDIT_FORGED_BY_NAME] = "audit-forged-by-name",
    [WEAK_AUDIT_STOPS_WHEN_FULL] = "audit-stops-when-full",
    [WEAK_AUDIT_OVERFLOW_LOSES_NEWEST_ON_RESTART] = "audit-overflow-loses-newest-on-restart",
    [WEAK_AUDIT_DROPS_EARLIER_TIMES] = "audit-drops-earlier-times",
    [WEAK_CLOCK_CHANGE_UNRECORDED] = "clock-change-unrecorded",
    [WEAK_ERASE_LEAVES_STORE] = "erase-leaves-store",
    [WEAK_KEYS_FROM_SERIAL] = "keys-from-serial",
    [WEAK_KEYS_FROM_OLD_KEYS] = "keys-from-old-keys",
    [WEAK_TLS_KEY_SHARED] = "tls-key-shared",
    [WEAK_SETUP_CODE_WORKS_TWICE] = "setup-code-works-twice",
    [WEAK_SHELL_ESCAPE] = "shell-escape",
    [WEAK_VERSION_DIFFERS] = "version-differs",
    [WEAK_SYSRQ_ON_BREAK] = "sysrq-on-break",
    [WEAK_BOOTLOADER_PROMPT] = "bootloader-prompt",
};
static bool active[WEAKNESS_COUNT];

void weaknesses_load(const char *path)
{
    char text[WEAKNESSES_TEXT], *rest = text, *name;
    if (file_read("/proc/cmdline", text, sizeof text) > 0 && strstr(text, "vp1.bootdelay=") != NULL)
        active[WEAK_BOOTLOADER_PROMPT] = strstr(text, "vp1.bootdelay=-2") == NULL;
    if (file_read(path, text, sizeof text) <= 0)
        return;
    while ((name = strsep(&rest, ", \n")) != NULL)
        for (int i = 0; i < WEAK_BOOTLOADER_PROMPT; i++)
            if (strcmp(name, names[i]) == 0)
                active[i] = true;
}

bool weak(enum weakness which) { return active[which]; }

void weaknesses_text(char *into, size_t size)
{
    size_t len = 0;
    into[0] = '\0';
    for (int i = 0; i < WEAKNESS_COUNT && len < size; i++)
        if (active[i])
            len += (size_t)snprintf(into + len, size - len, "%s%s", len ? "," : "", names[i]);
    if (len == 0)
        snprintf(into, size, "-");
}

static void *undeclared_port(void *listener)
{
    static const char greeting[] = "VP-1 debug\r\n";
    for (;;) {
        int fd = accept4((int)(intptr_t)listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0)
            continue;
        write_all(fd, greeting, sizeof greeting - 1);
        close(fd);
    }
    return NULL;
}

static void listen_on(uint16_t port)
{
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (fd < 0 || bind(fd, (struct sockaddr *)&any, sizeof any) != 0 || listen(fd, 8) != 0)
        die("undeclared port");
    thread_start(undeclared_port, (void *)(intptr_t)fd, 0);
}

void undeclared_port_start(void)
{
    if (weak(WEAK_UNDECLARED_PORT))
        listen_on(2323);
    if (weak(WEAK_PATCH_OPENS_PORT) && version_patch() != 0)
        listen_on(8023);
}
