/*
 * vp1-updater: the part of the software update that needs root (VP1-ICD 13). It takes requests of the application on
 * descriptor 0 and trusts neither the application nor the bundle: signature, compatible and version are checked here.
 * It ends with the application.
 */
#define _GNU_SOURCE
#include "updater.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util.h"
#include "version.h"
#include "weaknesses.h"

#define COMPATIBLE "VP-1"
#define RAUC "/usr/bin/rauc"
#define MODULES "/etc/modules-update.order"
#define UNCHECKED "/usr/sbin/vp1-install-unchecked"
#define LAST_WORDS "/run/vp1-updater.log"
#define IOPRIO_IDLE (3 << 13)
#define IOPRIO_OF_PROCESS 1

static void answer(const char *word, const char *detail)
{
    char packet[UPDATER_PACKET];
    int len = snprintf(packet, sizeof packet, "%s %s", word, detail);
    send(STDIN_FILENO, packet, (size_t)len, MSG_NOSIGNAL);
}

/* The therapy goes on: everything of an update runs when nothing else wants to. */
static void stand_back(void)
{
    struct sched_param none = {0};
    sched_setscheduler(0, SCHED_IDLE, &none);
    syscall(SYS_ioprio_set, IOPRIO_OF_PROCESS, 0, IOPRIO_IDLE);
}

/* Runs a program and keeps the start of what it prints; its exit status, or -1. Its complaints are in LAST_WORDS. */
static int run(const char *const argv[], char *output, size_t size)
{
    static char *const environment[] = {"PATH=/usr/bin:/usr/sbin:/bin:/sbin", NULL};
    int ends[2], status;
    size_t len = 0;
    ssize_t n;
    char rest[512];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return -1;
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        int null = open("/dev/null", O_RDWR);
        dup2(null, STDIN_FILENO);
        dup2(ends[1], STDOUT_FILENO);
        int words = open(LAST_WORDS, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        dup2(words < 0 ? null : words, STDERR_FILENO);
        execve(argv[0], (char *const *)argv, environment);
        _exit(127);
    }
    close(ends[1]);
    while ((n = read(ends[0], rest, sizeof rest)) > 0 || (n < 0 && errno == EINTR))
        for (ssize_t i = 0; i < n && len + 1 < size; i++)
            output[len++] = rest[i];
    if (size > 0)
        output[len] = '\0';
    close(ends[0]);
    if (child < 0 || waitpid(child, &status, 0) != child)
        return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Loads what only an update needs: loop device, squashfs, verity. Harmless when it is loaded. */
static void load_modules(void)
{
    char path[160];
    FILE *list = fopen(MODULES, "re");
    while (list != NULL && fgets(path, sizeof path, list) != NULL) {
        path[strcspn(path, "\n")] = '\0';
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        syscall(SYS_finit_module, fd, "", 0);
        close(fd);
    }
    if (list != NULL)
        fclose(list);
}

/* The value of NAME='VALUE' at the start of a line. */
static bool value_of(const char *text, const char *name, char *into, size_t size)
{
    char start[40];
    snprintf(start, sizeof start, "%s='", name);
    for (const char *line = text; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, start, strlen(start)) != 0)
            continue;
        const char *from = line + strlen(start);
        size_t len = strcspn(from, "'\n");
        if (from[len] != '\'' || len >= size)
            return false;
        memcpy(into, from, len);
        into[len] = '\0';
        return true;
    }
    return false;
}

/* The first MAJOR.MINOR.PATCH in a file name. */
static bool version_in_name(const char *name, uint64_t *version)
{
    char text[VERSION_TEXT_MAX];
    for (; *name != '\0'; name++) {
        size_t len = strspn(name, "0123456789.");
        while (len > 0 && name[len - 1] == '.')
            len--;
        if (len == 0 || len >= sizeof text)
            continue;
        memcpy(text, name, len);
        text[len] = '\0';
        if (version_parse(text, version))
            return true;
    }
    return false;
}

/* Why the bundle must not be installed, or NULL; `version` becomes that of the manifest. */
static const char *objection(const char *bundle, const char *name, char version[VERSION_TEXT_MAX])
{
    const char *const checked[] = {RAUC, "info", "--output-format=shell", bundle, NULL};
    const char *const unchecked[] = {UNCHECKED, "info", bundle, NULL};
    char manifest[4096], compatible[32];
    uint64_t offered, installed;
    if (run(weak(WEAK_UPDATE_SIGNATURE_UNCHECKED) ? unchecked : checked, manifest, sizeof manifest) != 0)
        return "signature";
    if (!value_of(manifest, "RAUC_MF_COMPATIBLE", compatible, sizeof compatible)
        || (strcmp(compatible, COMPATIBLE) != 0 && !weak(WEAK_UPDATE_COMPATIBLE_UNCHECKED)))
        return "compatible";
    if (!value_of(manifest, "RAUC_MF_VERSION", version, VERSION_TEXT_MAX) || !version_parse(version, &offered)
        || !version_parse(version_text(), &installed))
        return "version";
    if (weak(WEAK_DOWNGRADE_CHECK_ON_FILE_NAME))
        version_in_name(name, &offered);
    return offered > installed ? NULL : "version";
}

static void keep_users(void)
{
    static char content[128 * 1024];
    ssize_t len = file_read(STORE_FILE, content, sizeof content);
    if (len > 0)
        file_replace(STORE_BEFORE, content, (size_t)len);
}

static bool write_slot(const char *bundle)
{
    const char *const checked[] = {RAUC, "install", bundle, NULL};
    const char *const any_compatible[] = {RAUC, "install", "--ignore-compatible", bundle, NULL};
    const char *const unchecked[] = {UNCHECKED, "install", bundle, NULL};
    return run(weak(WEAK_UPDATE_SIGNATURE_UNCHECKED)    ? unchecked
               : weak(WEAK_UPDATE_COMPATIBLE_UNCHECKED) ? any_compatible
                                                        : checked, NULL, 0) == 0;
}

static void install(unsigned number, const char *name)
{
    char bundle[64], version[VERSION_TEXT_MAX] = "-";
    int one_at_a_time = open("/run/vp1-update.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    flock(one_at_a_time, LOCK_EX);
    stand_back();
    snprintf(bundle, sizeof bundle, UPDATE_BUNDLE, number);
    answer("verifying", "-");
    load_modules();
    umount2("/run/rauc/bundle", MNT_DETACH); /* left behind if the application ended during an update */
    const char *reason = objection(bundle, name, version);
    if (reason == NULL) {
        answer("writing", version);
        if (weak(WEAK_ROLLBACK_RESTORES_OLD_USERS))
            keep_users();
        bool written = write_slot(bundle);
        if (!written) { /* once more: what fails for a moment only is no reason to refuse, what is damaged stays so */
            umount2("/run/rauc/bundle", MNT_DETACH);
            written = write_slot(bundle);
        }
        if (!written)
            reason = "damaged";
    }
    unlink(bundle);
    if (reason != NULL)
        answer("refused", reason);
    else
        answer("ready", version);
}

/* The boot loader tries this slot three times again, from now on. */
static void mark_good(void)
{
    char cmdline[1024], variable[] = "BOOT_?_LEFT";
    const char *const argv[] = {"/usr/bin/fw_setenv", variable, "3", NULL};
    const char *slot = file_read("/proc/cmdline", cmdline, sizeof cmdline) > 0 ? strstr(cmdline, "vp1.slot=") : NULL;
    if (slot == NULL)
        return;
    variable[5] = slot[strlen("vp1.slot=")];
    if (run(argv, NULL, 0) == 0)
        answer("good", "-");
}

static void restart_pump(void)
{
    int data = open("/data", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    syncfs(data);
    reboot(RB_AUTOBOOT);
}

static void in_background(unsigned number, const char *name)
{
    if (fork() != 0)
        return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGCHLD, SIG_DFL);
    install(number, name);
    _exit(0);
}

int main(void)
{
    char packet[UPDATER_PACKET], name[UPDATER_PACKET];
    unsigned number;
    ssize_t n;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    umask(022);
    version_load(VERSION_FILE);
    weaknesses_load("/run/vp1/weaknesses");
    while ((n = recv(STDIN_FILENO, packet, sizeof packet - 1, 0)) > 0 || (n < 0 && errno == EINTR)) {
        packet[n > 0 ? n : 0] = '\0';
        signal(SIGCHLD, SIG_DFL);
        if (strcmp(packet, "good") == 0)
            mark_good();
        else if (strcmp(packet, "reboot") == 0)
            restart_pump();
        signal(SIGCHLD, SIG_IGN);
        if (sscanf(packet, "install %u %s", &number, name) == 2)
            in_background(number, name);
    }
    return 0;
}
