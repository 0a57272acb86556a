#include "util.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

static int64_t started_ms;
static atomic_int_least64_t set_off_s;

void die(const char *what)
{
    fprintf(stderr, "vp1d: %s: %s\r\n", what, strerror(errno));
    exit(1);
}

int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void uptime_begin(void) { started_ms = now_ms(); }

uint32_t uptime_ms(void) { return (uint32_t)(now_ms() - started_ms); }

time_t clock_now(void) { return time(NULL) + (time_t)atomic_load(&set_off_s); }

void clock_set(time_t now) { atomic_store(&set_off_s, now - time(NULL)); }

const char *utc_text(time_t t, char into[UTC_TEXT])
{
    struct tm utc;
    strftime(into, UTC_TEXT, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&t, &utc));
    return into;
}

bool write_all(int fd, const void *bytes, size_t len)
{
    const char *at = bytes;
    while (len > 0) {
        ssize_t n = write(fd, at, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        at += n;
        len -= (size_t)n;
    }
    return true;
}

/* A rename is on the disk only when its folder is. */
static bool sync_folder_of(const char *path)
{
    char copy[256];
    snprintf(copy, sizeof copy, "%s", path);
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0)
        close(fd);
    return ok;
}

bool file_replace(const char *path, const void *bytes, size_t len)
{
    char fresh[256];
    snprintf(fresh, sizeof fresh, "%s.new", path);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    bool ok = write_all(fd, bytes, len) && fsync(fd) == 0;
    ok = close(fd) == 0 && ok;
    return ok && rename(fresh, path) == 0 && sync_folder_of(path);
}

ssize_t file_read(const char *path, char *into, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    size_t len = 0;
    ssize_t n;
    while (len < size - 1 && (n = read(fd, into + len, size - 1 - len)) > 0)
        len += (size_t)n;
    close(fd);
    into[len] = '\0';
    return (ssize_t)len;
}

void random_bytes(void *into, size_t len)
{
    if (getrandom(into, len, 0) != (ssize_t)len)
        die("getrandom");
}

void put_u16(uint8_t *at, uint16_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

void put_u32(uint8_t *at, uint32_t value)
{
    put_u16(at, (uint16_t)(value >> 16));
    put_u16(at + 2, (uint16_t)value);
}

uint16_t get_u16(const uint8_t *at) { return (uint16_t)(at[0] << 8 | at[1]); }

void thread_start(void *(*body)(void *), void *arg, int fifo_priority)
{
    pthread_attr_t attr;
    pthread_t thread;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, 256 * 1024);
    if (fifo_priority > 0) {
        struct sched_param param = {.sched_priority = fifo_priority};
        pthread_attr_setinheritsched(&attr, PTHREAD_EXPLICIT_SCHED);
        pthread_attr_setschedpolicy(&attr, SCHED_FIFO);
        pthread_attr_setschedparam(&attr, &param);
    }
    errno = pthread_create(&thread, &attr, body, arg);
    if (errno != 0)
        die("thread");
    pthread_attr_destroy(&attr);
}
