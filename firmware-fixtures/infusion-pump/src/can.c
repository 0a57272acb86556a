#define _GNU_SOURCE
#include "can.h"

#include <errno.h>
#include <linux/can.h>
#include <linux/can/raw.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "audit.h"
#include "cmac.h"
#include "counters.h"
#include "pump.h"
#include "update.h"
#include "util.h"
#include "weaknesses.h"

#define ID_STATUS 0x100
#define ID_VOLUME 0x101
#define ID_SESSION 0x102
#define ID_COMMAND 0x200
#define ID_ANSWER 0x201
#define STATUS_PRIORITY 50
#define STATUS_NS 100000000

enum result { ACCEPTED, WRONG_MAC, STALE_COUNTER, OUT_OF_RANGE, UNKNOWN_OPCODE };
enum opcode { OP_START = 1, OP_STOP, OP_RATE, OP_UPTIME };

static struct {
    pthread_mutex_t lock;
    uint8_t session[8];
    uint16_t counter;
} security = {.lock = PTHREAD_MUTEX_INITIALIZER};

static int status_socket, command_socket;
static _Atomic int64_t ticked_ms;
static atomic_uint status_count;
static atomic_bool announce;

static int can_socket(const char *interface, canid_t wanted)
{
    int fd = socket(PF_CAN, SOCK_RAW | SOCK_CLOEXEC, CAN_RAW);
    struct sockaddr_can at = {.can_family = AF_CAN, .can_ifindex = (int)if_nametoindex(interface)};
    struct can_filter filter = {wanted, CAN_EFF_FLAG | CAN_RTR_FLAG | CAN_SFF_MASK};
    int none = 0;
    if (fd < 0 || at.can_ifindex == 0
        || setsockopt(fd, SOL_CAN_RAW, CAN_RAW_FILTER, &filter, wanted != 0 ? sizeof filter : 0) != 0
        || setsockopt(fd, SOL_CAN_RAW, CAN_RAW_LOOPBACK, &none, sizeof none) != 0
        || bind(fd, (struct sockaddr *)&at, sizeof at) != 0)
        die(interface);
    return fd;
}

static void send_frame(int fd, canid_t id, const uint8_t data[8], int patience_ms)
{
    struct can_frame frame = {.can_id = id, .can_dlc = 8};
    memcpy(frame.data, data, 8);
    while (write(fd, &frame, sizeof frame) < 0 && (errno == ENOBUFS || errno == EINTR) && patience_ms-- > 0)
        usleep(1000);
}

static void send_session(void)
{
    uint8_t session[8];
    pthread_mutex_lock(&security.lock);
    memcpy(session, security.session, sizeof session);
    pthread_mutex_unlock(&security.lock);
    send_frame(status_socket, ID_SESSION, session, 0);
}

static void *status_thread(void *unused)
{
    (void)unused;
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    struct itimerspec every = {{0, STATUS_NS}, {0, 1}};
    uint64_t expirations;
    uint8_t sequence = 0;

    if (timer < 0 || timerfd_settime(timer, 0, &every, NULL) != 0)
        die("status timer");
    for (unsigned tick = 0;; tick++) {
        if (read(timer, &expirations, sizeof expirations) < 0)
            continue;
        pump_tick();
        struct pump_view v = pump_view();
        uint8_t status[8] = {(uint8_t)v.state, v.alarm}, volume[8];
        put_u16(status + 2, v.set_rate);
        put_u16(status + 4, v.flow);
        status[6] = sequence++;
        put_u32(volume, v.volume_ul);
        put_u32(volume + 4, v.uptime_ms);
        send_frame(status_socket, ID_STATUS, status, 0);
        send_frame(status_socket, ID_VOLUME, volume, 0);
        if (tick % 10 == 0 || atomic_exchange(&announce, false))
            send_session();
        ticked_ms = now_ms();
        status_count++;
        if (weak(WEAK_STATUS_GAP_DURING_UPDATE) && tick % 10 == 5 && update_busy())
            usleep(400000);
    }
    return NULL;
}

static bool authentic(const uint8_t data[8])
{
    uint8_t message[8 + 2 + 5] = {0};
    if (weak(WEAK_CAN_NO_AUTH))
        return true;
    memcpy(message, security.session, 8);
    put_u16(message + 8, ID_COMMAND);
    memcpy(message + 10, data, 5);
    return cmac_matches(key_can, message, sizeof message, data + 5, 3);
}

static enum result carry_out(uint8_t opcode, uint16_t argument, uint32_t *value)
{
    char detail[16];
    switch (opcode) {
    case OP_START:
        pump_start();
        audit(NULL, "can", "start", "accepted", NULL);
        *value = pump_view().state;
        return ACCEPTED;
    case OP_STOP:
        pump_stop();
        audit(NULL, "can", "stop", "accepted", NULL);
        *value = pump_view().state;
        return ACCEPTED;
    case OP_RATE:
        if (!pump_set_rate(argument))
            return OUT_OF_RANGE;
        snprintf(detail, sizeof detail, "%u.%u", argument / 10, argument % 10);
        audit(NULL, "can", "rate", "accepted", detail);
        *value = argument;
        return ACCEPTED;
    case OP_UPTIME:
        *value = uptime_ms();
        return ACCEPTED;
    default:
        return UNKNOWN_OPCODE;
    }
}

static enum result decide(const uint8_t data[8], uint32_t *value)
{
    uint16_t counter = get_u16(data + 3);
    enum result result;
    pthread_mutex_lock(&security.lock);
    if (!authentic(data))
        result = WRONG_MAC;
    else if (counter <= security.counter && !weak(WEAK_CAN_COUNTER_UNCHECKED))
        result = STALE_COUNTER;
    else
        result = carry_out(data[0], get_u16(data + 1), value);
    if (result == ACCEPTED)
        security.counter = counter;
    pthread_mutex_unlock(&security.lock);
    return result;
}

static void *command_thread(void *unused)
{
    static const char *const details[] = {"-", "mac", "counter", "range", "opcode"};
    (void)unused;
    for (;;) {
        struct can_frame frame;
        if (read(command_socket, &frame, sizeof frame) != sizeof frame) {
            usleep(1000);
            continue;
        }
        if (frame.can_dlc != 8)
            continue;
        count(COUNT_CAN);
        uint32_t value = 0;
        enum result result = decide(frame.data, &value);
        if (result != ACCEPTED)
            audit_limited("can", "command", details[result]);
        uint8_t answer[8] = {frame.data[0], (uint8_t)result, frame.data[3], frame.data[4]};
        put_u32(answer + 4, value);
        send_frame(command_socket, ID_ANSWER, answer, 1000);
    }
    return NULL;
}

void can_new_session(void)
{
    pthread_mutex_lock(&security.lock);
    random_bytes(security.session, sizeof security.session);
    security.counter = 0;
    pthread_mutex_unlock(&security.lock);
    announce = true;
}

unsigned can_status_count(void) { return status_count; }

bool can_status_alive(void) { return now_ms() - ticked_ms < 1000; }

void can_start(const char *interface)
{
    int first_band = 6;    /* the status goes ahead of queued answers, */
    int few = 1;           /* of which the kernel holds but a few: the rest waits here */
    int backlog = 4 << 20; /* a burst of commands is answered late rather than not */
    can_new_session();
    status_socket = can_socket(interface, 0);
    setsockopt(status_socket, SOL_SOCKET, SO_PRIORITY, &first_band, sizeof first_band);
    command_socket = can_socket(interface, ID_COMMAND);
    setsockopt(command_socket, SOL_SOCKET, SO_RCVBUFFORCE, &backlog, sizeof backlog);
    setsockopt(command_socket, SOL_SOCKET, SO_SNDBUF, &few, sizeof few);
    ticked_ms = now_ms();
    thread_start(status_thread, NULL, STATUS_PRIORITY);
    thread_start(command_thread, NULL, 0);
}
