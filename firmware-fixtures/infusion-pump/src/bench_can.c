/* The bench's CAN adapter: the socketcand text protocol over the virtio-serial port `proofrig.can`. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/can.h>
#include <linux/can/raw.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "bench.h"

#define RECEIVE_BUFFER (16 << 20)
#define SEND_PATIENCE_MS 5000

static struct port port;
static pthread_mutex_t out_lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_bool raw_mode;
static int can = -1;

static bool say(const char *text)
{
    pthread_mutex_lock(&out_lock);
    bool ok = port_write(&port, text, strlen(text));
    pthread_mutex_unlock(&out_lock);
    return ok;
}

static void open_can(const char *interface)
{
    struct sockaddr_can at = {.can_family = AF_CAN, .can_ifindex = (int)if_nametoindex(interface)};
    int size = RECEIVE_BUFFER, on = 1;
    can = socket(PF_CAN, SOCK_RAW | SOCK_CLOEXEC, CAN_RAW);
    if (can < 0 || at.can_ifindex == 0 || bind(can, (struct sockaddr *)&at, sizeof at) != 0) {
        perror("benchd: can");
        exit(1);
    }
    setsockopt(can, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
    setsockopt(can, SOL_SOCKET, SO_TIMESTAMP, &on, sizeof on);
    setsockopt(can, SOL_SOCKET, SO_RXQ_OVFL, &on, sizeof on);
}

/* Receives one frame with its time; `*dropped` is the kernel's count of frames it had no room for. */
static bool receive(struct can_frame *frame, struct timeval *when, uint32_t *dropped)
{
    char control[128];
    struct iovec data = {frame, sizeof *frame};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    if (recvmsg(can, &message, 0) != sizeof *frame)
        return false;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c != NULL; c = CMSG_NXTHDR(&message, c)) {
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMP)
            memcpy(when, CMSG_DATA(c), sizeof *when);
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_RXQ_OVFL)
            memcpy(dropped, CMSG_DATA(c), sizeof *dropped);
    }
    return true;
}

static void *frames_out(void *unused)
{
    uint32_t dropped = 0, told = 0;
    (void)unused;
    for (;;) {
        struct can_frame frame;
        struct timeval when = {0};
        char text[96];
        if (!receive(&frame, &when, &dropped)) {
            usleep(1000);
            continue;
        }
        if (!raw_mode || (frame.can_id & (CAN_ERR_FLAG | CAN_RTR_FLAG))) {
            told = dropped;
            continue;
        }
        if (dropped != told) {
            snprintf(text, sizeof text, "< error %u frames lost >", dropped - told);
            told = dropped;
            say(text);
        }
        canid_t id = frame.can_id & (frame.can_id & CAN_EFF_FLAG ? CAN_EFF_MASK : CAN_SFF_MASK);
        int len = snprintf(text, sizeof text, frame.can_id & CAN_EFF_FLAG ? "< frame %08X %ld.%06ld " : "< frame %03X %ld.%06ld ",
                           id, (long)when.tv_sec, (long)when.tv_usec);
        for (int i = 0; i < frame.can_dlc; i++)
            len += snprintf(text + len, sizeof text - (size_t)len, "%02X", frame.data[i]);
        snprintf(text + len, sizeof text - (size_t)len, " >");
        say(text);
    }
    return NULL;
}

/* "< send ID DLC XX XX >": three digits mean a standard identifier, eight an extended one. */
static bool send_frame(char *words)
{
    struct can_frame frame = {0};
    char *rest = words, *word = strsep(&rest, " ");
    unsigned long id = strtoul(word, NULL, 16);
    if (id > CAN_EFF_MASK || rest == NULL)
        return false;
    frame.can_id = (canid_t)id | (strlen(word) > 3 ? CAN_EFF_FLAG : 0);
    unsigned long dlc = strtoul(strsep(&rest, " "), NULL, 10);
    if (dlc > CAN_MAX_DLEN)
        return false;
    frame.can_dlc = (uint8_t)dlc;
    for (unsigned long i = 0; i < dlc; i++) {
        if ((word = strsep(&rest, " ")) == NULL || *word == '\0')
            return false;
        frame.data[i] = (uint8_t)strtoul(word, NULL, 16);
    }
    for (int ms = 0; write(can, &frame, sizeof frame) < 0; ms++) {
        if ((errno != ENOBUFS && errno != EINTR) || ms == SEND_PATIENCE_MS)
            return false;
        usleep(1000);
    }
    return true;
}

static void command(void *unused, char *text)
{
    (void)unused;
    char *start = strchr(text, '<'), *end = strrchr(text, '>');
    if (start == NULL || end == NULL || end < start + 3)
        return;
    start += strspn(start + 1, " ") + 1;
    while (end > start && end[-1] == ' ')
        end--;
    *end = '\0';
    if (strncmp(start, "send ", 5) == 0) {
        if (!send_frame(start + 5))
            say("< error could not send >");
    } else if (strcmp(start, "hi") == 0) {
        raw_mode = false;
        say("< hi >");
    } else if (strncmp(start, "open ", 5) == 0) {
        raw_mode = false;
        say("< ok >");
    } else if (strcmp(start, "rawmode") == 0) {
        say("< ok >");
        raw_mode = true;
    } else if (strcmp(start, "echo") == 0) {
        say("< echo >");
    } else {
        say("< error unknown command >");
    }
}

void *bench_can(void *interface)
{
    pthread_t out;
    open_can(interface);
    port_open(&port, "proofrig.can");
    pthread_create(&out, NULL, frames_out, NULL);
    for (;;) {
        while (!port_connected(&port))
            usleep(10000);
        say("< hi >");
        while (port_read(&port, '>', 1000, command, NULL))
            ;
        raw_mode = false;
        port_drop_input(&port);
    }
    return NULL;
}
