/* The audit log: a line a record, numbered without gaps, appended and synchronised. */
#define _GNU_SOURCE
#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "gateway.h"

#define FILE_NAME STATE_DIR "/audit.log"
#define OLD_NAME STATE_DIR "/audit.1"
#define LINE_MAX_LEN 256
#define FILE_LINES 2000
#define SHOWN_MAX 200

static unsigned long number;
static size_t lines;
static int log_fd = -1;

/* Counts the whole lines of a log; a torn one at its end is of a power cut. */
static long count_lines(const char *path)
{
    char line[LINE_MAX_LEN];
    long whole = 0;
    FILE *file = fopen(path, "re");
    lines = 0;
    while (file != NULL && fgets(line, sizeof line, file) != NULL && strchr(line, '\n') != NULL) {
        number = strtoul(line, NULL, 10);
        whole += (long)strlen(line);
        lines++;
    }
    if (file != NULL)
        fclose(file);
    return whole;
}

static void open_log(void) { log_fd = open(FILE_NAME, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600); }

void audit_open(void)
{
    count_lines(OLD_NAME);
    long whole = count_lines(FILE_NAME);
    open_log();
    if (log_fd < 0 || ftruncate(log_fd, whole) != 0)
        perror(FILE_NAME);
}

static void word(char *out, size_t size, const char *text)
{
    size_t n = 0;
    for (; *text != '\0' && n + 1 < size; text++)
        out[n++] = isalnum((unsigned char)*text) || strchr("._/-", *text) != NULL ? *text : '_';
    if (n == 0)
        out[n++] = '-';
    out[n] = '\0';
}

void audit(const char *user, const char *surface, const char *event, const char *result, const char *detail)
{
    char line[LINE_MAX_LEN], who[USER_MAX], what[48], stamp[32];
    time_t now = time(NULL);
    struct tm utc;
    if (weak("audit-refusals-missing") && strcmp(result, "refused") == 0)
        return;
    if (lines >= FILE_LINES) {
        rename(FILE_NAME, OLD_NAME);
        close(log_fd);
        open_log();
        lines = 0;
    }
    word(who, sizeof who, user);
    word(what, sizeof what, detail);
    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
    int len = snprintf(line, sizeof line, "%lu %s user=%s surface=%s event=%s result=%s detail=%s\n", number + 1, stamp,
                       who, surface, event, result, what);
    if (log_fd < 0 || write(log_fd, line, (size_t)len) != len || fdatasync(log_fd) != 0)
        perror(FILE_NAME);
    number++;
    lines++;
}

static void collect(const char *path, char (*ring)[LINE_MAX_LEN], size_t count, size_t *seen)
{
    FILE *file = fopen(path, "re");
    while (file != NULL && fgets(ring[*seen % count], LINE_MAX_LEN, file) != NULL)
        (*seen)++;
    if (file != NULL)
        fclose(file);
}

json_t *audit_last(size_t count)
{
    static char ring[SHOWN_MAX][LINE_MAX_LEN];
    size_t seen = 0;
    json_t *records = json_array();
    if (count > SHOWN_MAX)
        count = SHOWN_MAX;
    collect(OLD_NAME, ring, count, &seen);
    collect(FILE_NAME, ring, count, &seen);
    for (size_t i = seen > count ? seen - count : 0; i < seen; i++) {
        char *line = ring[i % count];
        line[strcspn(line, "\n")] = '\0';
        json_array_append_new(records, json_string(line));
    }
    return records;
}
