/* Small helpers shared by the application: time, files, text. */
#ifndef VP1_UTIL_H
#define VP1_UTIL_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

/* Milliseconds of CLOCK_MONOTONIC. */
int64_t now_ms(void);

/* Milliseconds since the application started (the uptime of every surface). */
uint32_t uptime_ms(void);
void uptime_begin(void);

/* The pump's own clock: that of the system, and what it was set off by since the application started. */
time_t clock_now(void);
void clock_set(time_t now);

#define UTC_TEXT 24
/* `t` as 2026-11-22T10:00:00Z; returns `into`. */
const char *utc_text(time_t t, char into[UTC_TEXT]);

/* Replaces `path` by `len` bytes so that a power cut leaves the old or the new file. */
bool file_replace(const char *path, const void *bytes, size_t len);

/* Reads at most `size - 1` bytes of `path` and ends them with a NUL; -1 if it cannot be read. */
ssize_t file_read(const char *path, char *into, size_t size);

/* Writes all bytes to a blocking descriptor; false if it is gone. */
bool write_all(int fd, const void *bytes, size_t len);

/* Fills `into` from the kernel's random number generator, or ends the application. */
void random_bytes(void *into, size_t len);

void put_u16(uint8_t *at, uint16_t value);
void put_u32(uint8_t *at, uint32_t value);
uint16_t get_u16(const uint8_t *at);

/* Starts a detached thread; `fifo_priority` 0 is the ordinary scheduler. Ends the application on failure. */
void thread_start(void *(*body)(void *), void *arg, int fifo_priority);

/* Ends the application with a message on standard error. */
void die(const char *what) __attribute__((noreturn));
#endif
