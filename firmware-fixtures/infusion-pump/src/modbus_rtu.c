/* Modbus RTU: frames end by their length where it is known, else by silence. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "modbus.h"
#include "util.h"

/* 3.5 characters at 19200 are 2 ms; an emulated line delivers less evenly than that. */
#define SILENCE_MS 15
#define ADU_MAX (1 + MODBUS_PDU_MAX + 2)

static uint16_t crc16(const uint8_t *bytes, size_t len)
{
    uint16_t crc = 0xFFFF;
    for (size_t i = 0; i < len; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = (uint16_t)(crc & 1 ? crc >> 1 ^ 0xA001 : crc >> 1);
    }
    return crc;
}

/* The length of the request that starts in `bytes`, or 0 if only silence can tell. */
static size_t expected(const uint8_t *bytes, size_t len)
{
    if (len < 2)
        return 0;
    if (bytes[1] == 3 || bytes[1] == 4 || bytes[1] == 6)
        return 8;
    if (bytes[1] == 16 && len >= 7)
        return 9 + (size_t)bytes[6];
    return 0;
}

static bool frame_right(const uint8_t *bytes, size_t len)
{
    return len >= 4 && crc16(bytes, len - 2) == (bytes[len - 2] | bytes[len - 1] << 8);
}

static void answer(int fd, const uint8_t *bytes, size_t len)
{
    uint8_t out[ADU_MAX];
    if (bytes[0] != MODBUS_UNIT)
        return;
    out[0] = MODBUS_UNIT;
    size_t out_len = 1 + modbus_respond(bytes + 1, len - 3, out + 1);
    uint16_t crc = crc16(out, out_len);
    out[out_len++] = (uint8_t)crc;
    out[out_len++] = (uint8_t)(crc >> 8);
    write_all(fd, out, out_len);
}

static void *server(void *arg)
{
    int fd = (int)(intptr_t)arg;
    uint8_t bytes[ADU_MAX];
    size_t len = 0;
    bool overrun = false; /* too long for a frame: wait for silence */
    for (;;) {
        struct pollfd input = {.fd = fd, .events = POLLIN};
        if (poll(&input, 1, len > 0 || overrun ? SILENCE_MS : -1) == 0) {
            if (!overrun && frame_right(bytes, len))
                answer(fd, bytes, len);
            len = 0;
            overrun = false;
            continue;
        }
        if (overrun)
            len = 0;
        ssize_t n = read(fd, bytes + len, sizeof bytes - len);
        if (n <= 0) {
            usleep(errno == EINTR ? 0 : 10000);
            continue;
        }
        len += (size_t)n;
        if (!overrun && len == expected(bytes, len) && frame_right(bytes, len)) {
            answer(fd, bytes, len);
            len = 0;
        }
        overrun = overrun || len == sizeof bytes;
    }
    return NULL;
}

void modbus_rtu_start(const char *tty)
{
    struct termios line;
    int fd = open(tty, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        die(tty);
    if (tcgetattr(fd, &line) == 0) {
        cfmakeraw(&line);
        line.c_iflag = IGNBRK | IGNPAR;
        line.c_cflag = CS8 | PARENB | CREAD | CLOCAL;
        cfsetspeed(&line, B19200);
        tcsetattr(fd, TCSANOW, &line);
        tcflush(fd, TCIOFLUSH);
    }
    thread_start(server, (void *)(intptr_t)fd, 0);
}
