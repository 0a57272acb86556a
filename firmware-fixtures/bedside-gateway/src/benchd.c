/* The bench's agent on the virtio-serial port `proofrig.agent`: one line in, one line out. No part of the product. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define SEED_MAX 64

static bool reseed(const char *hex)
{
    struct {
        struct rand_pool_info info;
        unsigned char bytes[SEED_MAX]; /* lies where info.buf begins */
    } seed = {0};
    size_t len = strlen(hex) / 2;
    if (len < 1 || len > SEED_MAX || strspn(hex, "0123456789abcdef") != strlen(hex))
        return false;
    for (size_t i = 0; i < len; i++)
        if (sscanf(hex + 2 * i, "%2hhx", &seed.bytes[i]) != 1)
            return false;
    seed.info.buf_size = (int)len;
    seed.info.entropy_count = (int)len * 8;
    int fd = open("/dev/urandom", O_RDWR | O_CLOEXEC);
    bool good = fd >= 0 && ioctl(fd, RNDADDENTROPY, &seed) == 0 && ioctl(fd, RNDRESEEDCRNG) == 0;
    if (fd >= 0)
        close(fd);
    return good;
}

static bool set_clock(const char *text)
{
    char *end;
    double seconds = strtod(text, &end);
    if (end == text || *end != '\0' || seconds < 0 || seconds > 4e9)
        return false;
    struct timespec t = {.tv_sec = (time_t)seconds};
    t.tv_nsec = (long)((seconds - (double)t.tv_sec) * 1e9);
    return clock_settime(CLOCK_REALTIME, &t) == 0;
}

static void request(int fd, const char *line, const char *weaknesses)
{
    bool good = false;
    if (strcmp(line, "ping") == 0) {
        dprintf(fd, "pong\n");
        return;
    }
    if (strcmp(line, "weaknesses") == 0) {
        dprintf(fd, "weaknesses: %s\n", weaknesses);
        return;
    }
    if (strncmp(line, "reseed ", 7) == 0)
        good = reseed(line + 7);
    else if (strncmp(line, "clock ", 6) == 0)
        good = set_clock(line + 6);
    else if (strcmp(line, "sync") == 0) {
        sync();
        good = true;
    }
    dprintf(fd, good ? "ok\n" : "error\n");
}

/* argv: device of the port; file with the weaknesses. */
int main(int argc, char **argv)
{
    char line[512], weaknesses[2048] = "-";
    size_t len = 0;
    int fd = argc == 3 ? open(argv[1], O_RDWR | O_CLOEXEC) : -1;
    FILE *file = argc == 3 ? fopen(argv[2], "re") : NULL;
    if (fd < 0 || file == NULL)
        return 1;
    if (fgets(weaknesses, sizeof weaknesses, file) != NULL)
        weaknesses[strcspn(weaknesses, "\r\n")] = '\0';
    fclose(file);
    for (;;) {
        char c;
        ssize_t n = read(fd, &c, 1);
        if (n < 0 && errno != EINTR && errno != EAGAIN)
            return 1;
        if (n == 0) { /* nobody is there: the end of the port tells of nothing to come */
            len = 0;
            usleep(10000);
        }
        if (n != 1)
            continue;
        if (c == '\n') {
            line[len] = '\0';
            request(fd, line, weaknesses);
            len = 0;
        } else if (len < sizeof line - 1) {
            line[len++] = c;
        }
    }
}
