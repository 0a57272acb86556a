/*
 * bench-fifo: an emulator's fault made good, before the driver of the CAN controllers is loaded; no part of the pump.
 *
 * A reset of QEMU's SJA1000 puts the read pointer of its receive FIFO to the start and leaves the write pointer where it
 * was (hw/net/can/can_sja1000.c, seen in 7.2: can_sja_hardware_reset and rx_ptr). After a restart of the machine that
 * was not a power cut, the driver then reads frames that nobody sent, and soon none. The controller cannot put its write
 * pointer back; receiving can: the other one sends it as many bytes as are missing to the end of the FIFO.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define DEVICES "/sys/bus/pci/devices"
#define KVASER 0x840610e8u
#define FIFO 64
/* Registers of the SJA1000 in BasicCAN mode (data sheet, table 2). */
#define CONTROL 0
#define COMMAND 1
#define ACCEPTANCE_MASK 5
#define TRANSMIT 10
#define RECEIVE 20
#define HEAD 2
#define DATA_MAX 8
#define FIRST 0x10 /* no byte of a head: identifier 0, up to 8 bytes */

static void put(int fd, unsigned at, uint8_t value)
{
    if (pwrite(fd, &value, 1, at) != 1)
        perror("bench-fifo");
}

static uint8_t get(int fd, unsigned at)
{
    uint8_t value = 0;
    if (pread(fd, &value, 1, at) != 1)
        perror("bench-fifo");
    return value;
}

/* Sends a frame of `len` bytes in the FIFO, head and data; the receiver then forgets it, but not where it ended. */
static void send_bytes(int from, int to, unsigned len, uint8_t value)
{
    put(from, TRANSMIT, 0);
    put(from, TRANSMIT + 1, (uint8_t)(len - HEAD));
    for (unsigned i = HEAD; i < len; i++)
        put(from, TRANSMIT + i, value++);
    put(from, COMMAND, 1);
    put(to, CONTROL, 0); /* in operation mode already: a software reset */
}

/* Where the next byte will be written: a FIFO full of numbered bytes is read at its start. */
static unsigned write_pointer(int from, int to)
{
    const unsigned frames = 8, len = HEAD + DATA_MAX;
    for (unsigned i = 0; i < frames; i++)
        send_bytes(from, to, len, (uint8_t)(FIRST + i * DATA_MAX));
    for (unsigned at = 0; at <= HEAD; at++) {
        unsigned number = get(to, RECEIVE + at) - FIRST;
        if (number < frames * DATA_MAX) {
            unsigned written = number / DATA_MAX * len + HEAD + number % DATA_MAX;
            return (at + frames * len - written) % FIFO;
        }
    }
    return 0;
}

static void align(int from, int to)
{
    unsigned missing = (FIFO - write_pointer(from, to)) % FIFO;
    if (missing == 1)
        missing += FIFO; /* a frame has two bytes at least */
    while (missing > 0) {
        unsigned len = missing < HEAD + DATA_MAX ? missing : HEAD + DATA_MAX;
        if (missing - len == 1)
            len--;
        send_bytes(from, to, len, FIRST);
        missing -= len;
    }
}

/* Opens the registers of the next controller; -1 after the last. */
static int next_controller(DIR *devices)
{
    struct dirent *entry;
    while ((entry = readdir(devices)) != NULL) {
        char path[300];
        uint32_t id = 0;
        snprintf(path, sizeof path, DEVICES "/%s/config", entry->d_name);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || read(fd, &id, sizeof id) != sizeof id)
            id = 0;
        close(fd);
        if (id != KVASER)
            continue;
        snprintf(path, sizeof path, DEVICES "/%s/enable", entry->d_name);
        fd = open(path, O_WRONLY | O_CLOEXEC);
        if (write(fd, "1", 1) != 1)
            perror("bench-fifo");
        close(fd);
        snprintf(path, sizeof path, DEVICES "/%s/resource1", entry->d_name);
        return open(path, O_RDWR | O_CLOEXEC);
    }
    return -1;
}

int main(void)
{
    DIR *devices = opendir(DEVICES);
    int one = next_controller(devices), other = next_controller(devices);
    if (one < 0 || other < 0)
        return 1;
    for (int i = 0; i < 2; i++) {
        put(i ? one : other, ACCEPTANCE_MASK, 0xff);
        put(i ? one : other, CONTROL, 0); /* from reset mode to operation mode */
    }
    align(one, other);
    align(other, one);
    put(one, CONTROL, 1);
    put(other, CONTROL, 1);
    return 0;
}
