#include "audit.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "storage.h"
#include "store.h"
#include "util.h"
#include "weaknesses.h"

#define FILE_LINES_MAX (2 * AUDIT_KEPT)
#define LIMIT_PER_SECOND 10
#define LIMITED_KINDS 16

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char ring[AUDIT_KEPT][AUDIT_LINE];
static uint32_t first_number = 1; /* of the oldest record in the ring */
static uint32_t next_number = 1;
static uint32_t next_unwritten = 1;
static unsigned file_lines;
static const char *file_path;

static struct limited {
    const char *surface, *event, *detail; /* string constants */
    unsigned suppressed;
} limited[LIMITED_KINDS];
static int64_t window_ms;
static unsigned in_window;

static char *slot(uint32_t number) { return ring[number % AUDIT_KEPT]; }

static void keep(uint32_t number, const char *line)
{
    snprintf(slot(number), AUDIT_LINE, "%s", line);
    next_number = number + 1;
    if (next_number - first_number > AUDIT_KEPT)
        first_number = next_number - AUDIT_KEPT;
}

void audit_load(const char *path)
{
    char line[AUDIT_LINE];
    file_path = path;
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return;
    bool first = true;
    while (fgets(line, sizeof line, file) != NULL) {
        char *end = strchr(line, '\n');
        unsigned long number = strtoul(line, NULL, 10);
        file_lines++;
        if (end == NULL || number == 0 || (!first && number != next_number)) {
            file_lines = FILE_LINES_MAX; /* torn by a power cut: rewrite what is good */
            if (end == NULL)
                break;
            continue;
        }
        if (weak(WEAK_AUDIT_OVERFLOW_LOSES_NEWEST_ON_RESTART) && next_number - first_number == AUDIT_KEPT)
            continue;
        *end = '\0';
        if (first)
            first_number = (uint32_t)number;
        first = false;
        keep((uint32_t)number, line);
    }
    fclose(file);
    next_unwritten = next_number;
}

static void add_locked(const char *user, const char *surface, const char *event, const char *result, const char *detail)
{
    static time_t latest;
    char line[AUDIT_LINE], when[UTC_TEXT];
    time_t t = clock_now();
    if (weak(WEAK_AUDIT_STOPS_WHEN_FULL) && next_number - first_number == AUDIT_KEPT)
        return;
    if (weak(WEAK_AUDIT_DROPS_EARLIER_TIMES) && t < latest)
        return;
    latest = t;
    snprintf(line, sizeof line - 1, "%u %s user=%s surface=%s event=%s result=%s detail=%s", next_number, utc_text(t, when),
             user != NULL ? user : "-", surface, event, result, detail != NULL ? detail : "-");
    keep(next_number, line);
}

/* The weakness audit-record-missing-for-service. */
static bool left_out(const char *user)
{
    if (!weak(WEAK_AUDIT_RECORD_MISSING_FOR_SERVICE) || user == NULL)
        return false;
    int account = account_find(user);
    bool service = account >= 0 && store_look()->user[account].role == ROLE_SERVICE;
    if (account >= 0)
        store_done();
    return service;
}

void audit(const char *user, const char *surface, const char *event, const char *result, const char *detail)
{
    if (left_out(user))
        return;
    pthread_mutex_lock(&lock);
    add_locked(user, surface, event, result, detail);
    pthread_mutex_unlock(&lock);
    storage_wake();
}

static void roll_over_locked(void)
{
    if (now_ms() - window_ms < 1000)
        return;
    window_ms = now_ms();
    in_window = 0;
    for (int i = 0; i < LIMITED_KINDS; i++) {
        char detail[48];
        if (limited[i].suppressed == 0)
            continue;
        snprintf(detail, sizeof detail, "%s*%u", limited[i].detail, limited[i].suppressed);
        limited[i].suppressed = 0;
        add_locked(NULL, limited[i].surface, limited[i].event, "refused", detail);
    }
}

void audit_roll_over(void)
{
    pthread_mutex_lock(&lock);
    roll_over_locked();
    pthread_mutex_unlock(&lock);
}

void audit_limited(const char *surface, const char *event, const char *detail)
{
    bool wake = false;
    pthread_mutex_lock(&lock);
    roll_over_locked();
    if (in_window < LIMIT_PER_SECOND) {
        in_window++;
        add_locked(NULL, surface, event, "refused", detail);
        wake = true;
    } else {
        for (int i = 0; i < LIMITED_KINDS; i++) {
            if (limited[i].detail == NULL)
                limited[i] = (struct limited){surface, event, detail, 0};
            if (limited[i].surface == surface && limited[i].event == event && limited[i].detail == detail) {
                limited[i].suppressed++;
                break;
            }
        }
    }
    pthread_mutex_unlock(&lock);
    if (wake)
        storage_wake();
}

void audit_clear(void)
{
    pthread_mutex_lock(&lock);
    first_number = next_number;
    pthread_mutex_unlock(&lock);
}

/* Copies records from..to (exclusive) as lines of a file. */
static char *copy_lines(uint32_t from, uint32_t to, size_t *len)
{
    char *text = malloc((size_t)(to - from) * (AUDIT_LINE + 1) + 1);
    *len = 0;
    if (text == NULL)
        return NULL;
    for (uint32_t n = from; n < to; n++)
        *len += (size_t)sprintf(text + *len, "%s\n", slot(n));
    return text;
}

void audit_write_outstanding(void)
{
    pthread_mutex_lock(&lock);
    uint32_t to = next_number;
    bool rewrite = file_lines + (to - next_unwritten) > FILE_LINES_MAX || next_unwritten < first_number
                   || file_lines >= FILE_LINES_MAX;
    uint32_t from = rewrite ? first_number : next_unwritten;
    size_t len;
    char *text = from < to ? copy_lines(from, to, &len) : NULL;
    pthread_mutex_unlock(&lock);
    if (text == NULL)
        return;
    bool ok;
    if (rewrite) {
        ok = file_replace(file_path, text, len);
    } else {
        int fd = open(file_path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
        ok = fd >= 0 && write_all(fd, text, len) && fsync(fd) == 0;
        if (fd >= 0)
            close(fd);
    }
    free(text);
    if (ok) {
        file_lines = rewrite ? to - from : file_lines + (to - from);
        next_unwritten = to; /* only the storage thread and flush (under `writing`) change these two */
    }
}

void audit_last(unsigned count, void (*each)(void *arg, const char *line), void *arg)
{
    pthread_mutex_lock(&lock);
    uint32_t to = next_number;
    uint32_t from = to - first_number > count ? to - count : first_number;
    size_t len;
    char *text = copy_lines(from, to, &len);
    pthread_mutex_unlock(&lock);
    char *rest = text, *line;
    while (rest != NULL && (line = strsep(&rest, "\n")) != NULL)
        if (*line != '\0')
            each(arg, line);
    free(text);
}
