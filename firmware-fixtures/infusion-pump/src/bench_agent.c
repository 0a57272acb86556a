/* The bench's agent on the virtio-serial port `proofrig.agent`: one line in, one line out. */
#define _GNU_SOURCE
#include <ctype.h>
#include <linux/random.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"
#include "weaknesses.h"

#define CONTROL_SOCKET "/run/vp1/bench.sock"
#define SEED_MAX 64

/* Asks the application; false if it does not answer (it may be restarting). */
static bool ask(const char *question, char *answer, size_t size)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX, .sun_path = CONTROL_SOCKET};
    struct timeval limit = {.tv_sec = 2};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ssize_t n = -1;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (connect(fd, (struct sockaddr *)&at, sizeof at) == 0 && write(fd, question, strlen(question)) > 0)
        n = read(fd, answer, size - 1);
    close(fd);
    if (n <= 0)
        return false;
    answer[n] = '\0';
    answer[strcspn(answer, "\n")] = '\0';
    return true;
}

static bool ask_ok(const char *question)
{
    char answer[64];
    return ask(question, answer, sizeof answer) && strcmp(answer, "ok") == 0;
}

static bool reseed(const char *hex)
{
    struct {
        struct rand_pool_info info;
        unsigned char bytes[SEED_MAX]; /* lies where info.buf begins */
    } seed = {0};
    size_t len = strlen(hex) / 2;
    if (len < 1 || len > SEED_MAX || strspn(hex, "0123456789abcdefABCDEF") != strlen(hex))
        return false;
    for (size_t i = 0; i < len; i++) {
        char pair[3] = {hex[2 * i], hex[2 * i + 1], '\0'};
        seed.bytes[i] = (unsigned char)strtoul(pair, NULL, 16);
    }
    seed.info.buf_size = (int)len;
    seed.info.entropy_count = (int)len * 8;
    int fd = open("/dev/urandom", O_RDWR | O_CLOEXEC);
    bool ok = fd >= 0 && ioctl(fd, RNDADDENTROPY, &seed) == 0 && ioctl(fd, RNDRESEEDCRNG) == 0;
    if (fd >= 0)
        close(fd);
    return ok && ask_ok("session\n");
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

static void request(void *arg, char *line)
{
    struct port *port = arg;
    char answer[WEAKNESSES_TEXT + 20] = "error", set[WEAKNESSES_TEXT];
    line[strcspn(line, "\r\n")] = '\0';
    if (strcmp(line, "ping") == 0) {
        strcpy(answer, "pong");
    } else if (strcmp(line, "weaknesses") == 0) {
        if (ask("weaknesses\n", set, sizeof set))
            snprintf(answer, sizeof answer, "weaknesses: %s", set);
    } else if (strncmp(line, "reseed ", 7) == 0) {
        if (reseed(line + 7))
            strcpy(answer, "ok");
    } else if (strncmp(line, "clock ", 6) == 0) {
        if (set_clock(line + 6))
            strcpy(answer, "ok");
    } else if (strcmp(line, "sync") == 0) {
        if (ask_ok("flush\n")) {
            sync();
            strcpy(answer, "ok");
        }
    }
    strcat(answer, "\n");
    port_write(port, answer, strlen(answer));
}

void *bench_agent(void *unused)
{
    static struct port port;
    (void)unused;
    port_open(&port, "proofrig.agent");
    for (;;) {
        while (!port_connected(&port))
            usleep(10000);
        while (port_read(&port, '\n', 1000, request, &port))
            ;
        port_drop_input(&port);
    }
    return NULL;
}
