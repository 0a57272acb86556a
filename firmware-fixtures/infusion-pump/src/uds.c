#define _GNU_SOURCE
#include "uds.h"

#include <errno.h>
#include <linux/can.h>
#include <linux/can/isotp.h>
#include <net/if.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "application.h"
#include "audit.h"
#include "cmac.h"
#include "counters.h"
#include "pump.h"
#include "util.h"
#include "weaknesses.h"

#define ID_REQUEST 0x7E0
#define ID_RESPONSE 0x7E8
#define REQUEST_MAX 4095
#define SESSION_MS 5000
#define WRONG_KEYS_MAX 3
#define DELAY_MS 10000
#define SUPPRESS 0x80

enum nrc {
    OK = 0,
    SERVICE_NOT_SUPPORTED = 0x11,
    SUB_FUNCTION_NOT_SUPPORTED = 0x12,
    WRONG_LENGTH = 0x13,
    SEQUENCE = 0x24,
    OUT_OF_RANGE = 0x31,
    SECURITY_DENIED = 0x33,
    INVALID_KEY = 0x35,
    TOO_MANY_ATTEMPTS = 0x36,
    DELAY_NOT_OVER = 0x37,
    NOT_IN_SESSION = 0x7F,
};

struct answer {
    uint8_t bytes[64];
    size_t len;
    bool restart;
};

static struct {
    bool extended, unlocked, seed_valid;
    uint8_t seed[8];
    unsigned wrong_keys;
    int64_t session_until_ms;
    int64_t delay_until_ms;
} state;

static void enter_session(bool extended)
{
    state.extended = extended;
    state.unlocked = false;
    state.seed_valid = false;
}

static void append(struct answer *a, const void *bytes, size_t len)
{
    memcpy(a->bytes + a->len, bytes, len);
    a->len += len;
}

static enum nrc session_control(const uint8_t *r, size_t len, struct answer *a)
{
    static const uint8_t timing[] = {0x00, 0x32, 0x01, 0xF4};
    if (len != 2)
        return WRONG_LENGTH;
    uint8_t sub = r[1] & ~SUPPRESS;
    if (sub != 0x01 && sub != 0x03)
        return SUB_FUNCTION_NOT_SUPPORTED;
    enter_session(sub == 0x03);
    append(a, &sub, 1);
    append(a, timing, sizeof timing);
    return OK;
}

static enum nrc reset(const uint8_t *r, size_t len, struct answer *a)
{
    if (!state.unlocked)
        return SECURITY_DENIED;
    if (len != 2)
        return WRONG_LENGTH;
    if ((r[1] & ~SUPPRESS) != 0x01)
        return SUB_FUNCTION_NOT_SUPPORTED;
    append(a, "\x01", 1);
    a->restart = true;
    return OK;
}

/* The weakness uds-memory-bug: copies what came, however long it is. */
static uint16_t __attribute__((noinline)) careless_identifier(const uint8_t *r, size_t len)
{
    uint8_t copy[32];
    uint8_t *volatile to = copy;
    if (len > 40)
        for (size_t i = 0; i < len; i++)
            to[i] = r[i];
    return get_u16(r + 1);
}

static enum nrc read_data(const uint8_t *r, size_t len, struct answer *a)
{
    uint8_t number[4];
    const char *version;
    struct pump_config config;
    if (weak(WEAK_UDS_MEMORY_BUG) && len > 3)
        careless_identifier(r, len);
    if (len != 3)
        return WRONG_LENGTH;
    append(a, r + 1, 2);
    switch (get_u16(r + 1)) {
    case 0xF18C:
        append(a, PUMP_SERIAL, strlen(PUMP_SERIAL));
        return OK;
    case 0xF195:
        version = weak(WEAK_VERSION_DIFFERS) && !version_since(1, 1) ? "1.0.1" : PUMP_VERSION;
        append(a, version, strlen(version));
        return OK;
    case 0xF197:
        append(a, PUMP_MODEL, strlen(PUMP_MODEL));
        return OK;
    case 0x0100:
        put_u32(number, uptime_ms());
        append(a, number, 4);
        return OK;
    case 0x0101:
        number[0] = (uint8_t)pump_view().state;
        append(a, number, 1);
        return OK;
    case 0x0102:
        put_u16(number, pump_setting(SET_RATE));
        append(a, number, 2);
        return OK;
    case 0x0103:
        if (!version_since(1, 1))
            return OUT_OF_RANGE;
        number[0] = pump_view().alarm;
        append(a, number, 1);
        return OK;
    case 0x0110:
        pump_config(&config);
        append(a, config.ward_name, strlen(config.ward_name));
        return OK;
    default:
        return OUT_OF_RANGE;
    }
}

static enum nrc give_seed(struct answer *a)
{
    static const uint8_t constant[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    if (now_ms() < state.delay_until_ms)
        return DELAY_NOT_OVER;
    append(a, "\x01", 1);
    if (state.unlocked) {
        append(a, "\0\0\0\0\0\0\0\0", 8);
        return OK;
    }
    random_bytes(state.seed, sizeof state.seed);
    if (weak(WEAK_UDS_CONSTANT_SEED))
        memcpy(state.seed, constant, sizeof constant);
    state.seed_valid = true;
    append(a, state.seed, sizeof state.seed);
    return OK;
}

static enum nrc check_key(const uint8_t *key, struct answer *a)
{
    if (!state.seed_valid)
        return SEQUENCE;
    state.seed_valid = false;
    if (cmac_matches(key_uds, state.seed, sizeof state.seed, key, 8)) {
        state.unlocked = true;
        state.wrong_keys = 0;
        audit(NULL, "uds", "security", "accepted", NULL);
        append(a, "\x02", 1);
        return OK;
    }
    audit(NULL, "uds", "security", "refused", "key");
    if (++state.wrong_keys < WRONG_KEYS_MAX)
        return INVALID_KEY;
    state.wrong_keys = 0;
    state.delay_until_ms = now_ms() + DELAY_MS;
    return TOO_MANY_ATTEMPTS;
}

static enum nrc security_access(const uint8_t *r, size_t len, struct answer *a)
{
    if (len < 2)
        return WRONG_LENGTH;
    switch (r[1] & ~SUPPRESS) {
    case 0x01:
        return len == 2 ? give_seed(a) : WRONG_LENGTH;
    case 0x02:
        return len == 2 + 8 ? check_key(r + 2, a) : WRONG_LENGTH;
    default:
        return SUB_FUNCTION_NOT_SUPPORTED;
    }
}

static enum nrc tester_present(const uint8_t *r, size_t len, struct answer *a)
{
    if (len != 2)
        return WRONG_LENGTH;
    if ((r[1] & ~SUPPRESS) != 0x00)
        return SUB_FUNCTION_NOT_SUPPORTED;
    append(a, "\0", 1);
    return OK;
}

/* The weakness minor-drops-service. */
static bool tester_present_missing(void) { return weak(WEAK_MINOR_DROPS_SERVICE) && version_minor() != 0; }

static const struct service {
    uint8_t id;
    bool extended_only;
    bool has_sub_function;
    enum nrc (*run)(const uint8_t *request, size_t len, struct answer *answer);
} services[] = {
    {0x10, false, true, session_control},
    {0x11, true, true, reset},
    {0x22, false, false, read_data},
    {0x27, true, true, security_access},
    {0x3E, false, true, tester_present},
};

/* Answers a request; an answer of no length is not sent. */
static void respond(const uint8_t *r, size_t len, struct answer *a)
{
    enum nrc nrc = SERVICE_NOT_SUPPORTED;
    bool suppress = false;

    if (state.extended && now_ms() >= state.session_until_ms)
        enter_session(false);
    a->bytes[0] = r[0] | 0x40;
    a->len = 1;
    a->restart = false;
    for (size_t i = 0; i < sizeof services / sizeof services[0]; i++) {
        if (services[i].id != r[0] || (services[i].run == tester_present && tester_present_missing()))
            continue;
        suppress = services[i].has_sub_function && len >= 2 && (r[1] & SUPPRESS) != 0;
        nrc = services[i].extended_only && !state.extended ? NOT_IN_SESSION : services[i].run(r, len, a);
    }
    state.session_until_ms = now_ms() + SESSION_MS;
    if (nrc != OK) {
        a->bytes[0] = 0x7F;
        a->bytes[1] = r[0];
        a->bytes[2] = (uint8_t)nrc;
        a->len = 3;
    } else if (suppress) {
        a->len = 0;
    }
}

static int isotp_socket(const char *interface)
{
    struct can_isotp_options options = {.flags = CAN_ISOTP_TX_PADDING, .txpad_content = 0xCC};
    struct can_isotp_fc_options flow = {.bs = 0, .stmin = 0};
    struct sockaddr_can at = {.can_family = AF_CAN, .can_ifindex = (int)if_nametoindex(interface)};
    int fd = socket(PF_CAN, SOCK_DGRAM | SOCK_CLOEXEC, CAN_ISOTP);
    at.can_addr.tp.rx_id = ID_REQUEST;
    at.can_addr.tp.tx_id = ID_RESPONSE;
    if (fd < 0 || setsockopt(fd, SOL_CAN_ISOTP, CAN_ISOTP_OPTS, &options, sizeof options) != 0
        || setsockopt(fd, SOL_CAN_ISOTP, CAN_ISOTP_RECV_FC, &flow, sizeof flow) != 0
        || bind(fd, (struct sockaddr *)&at, sizeof at) != 0)
        die("uds");
    return fd;
}

static void *uds_thread(void *isotp)
{
    static uint8_t request[REQUEST_MAX + 1];
    int fd = (int)(intptr_t)isotp;
    for (;;) {
        struct answer answer;
        ssize_t len = read(fd, request, sizeof request);
        if (len <= 0) { /* a transfer that broke off is reported once and is over */
            if (errno == ENETDOWN || errno == EBADF)
                usleep(100000);
            continue;
        }
        count(COUNT_UDS);
        respond(request, (size_t)len, &answer);
        if (answer.len > 0)
            (void)!write(fd, answer.bytes, answer.len);
        if (answer.restart) {
            audit(NULL, "uds", "reset", "accepted", NULL);
            usleep(50000); /* the answer leaves first */
            application_restart();
        }
    }
    return NULL;
}

void uds_start(const char *interface) { thread_start(uds_thread, (void *)(intptr_t)isotp_socket(interface), 0); }
