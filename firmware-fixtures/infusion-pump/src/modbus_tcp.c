/* Modbus TCP: up to eight connections in one poll loop; nobody can make it wait. */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "modbus.h"
#include "util.h"

#define PORT 502
#define CONNECTIONS_MAX 8
#define SILENCE_MS 60000
#define HEADER 7 /* transaction, protocol, length, unit */

static struct connection {
    int fd; /* -1: free */
    int64_t last_request_ms;
    size_t len;
    uint8_t bytes[HEADER + MODBUS_PDU_MAX];
} connections[CONNECTIONS_MAX];

static void drop(struct connection *c)
{
    close(c->fd);
    c->fd = -1;
}

/* Answers the complete request at the start of the buffer; false if the connection must go. */
static bool answer(struct connection *c, size_t pdu_len)
{
    uint8_t out[HEADER + MODBUS_PDU_MAX];
    c->last_request_ms = now_ms();
    if (c->bytes[6] != MODBUS_UNIT)
        return true; /* somebody else's request */
    size_t len = modbus_respond(c->bytes + HEADER, pdu_len, out + HEADER);
    memcpy(out, c->bytes, HEADER);
    put_u16(out + 4, (uint16_t)(len + 1));
    return send(c->fd, out, HEADER + len, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)(HEADER + len);
}

static bool take_input(struct connection *c)
{
    ssize_t n = recv(c->fd, c->bytes + c->len, sizeof c->bytes - c->len, MSG_DONTWAIT);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    if (n == 0)
        return false;
    c->len += (size_t)n;
    while (c->len >= HEADER) {
        size_t length = get_u16(c->bytes + 4); /* unit and PDU */
        if (get_u16(c->bytes + 2) != 0 || length < 2 || length > 1 + MODBUS_PDU_MAX)
            return false; /* not Modbus: there is no way to find the next request */
        size_t total = HEADER - 1 + length;
        if (c->len < total)
            break;
        if (!answer(c, length - 1))
            return false;
        c->len -= total;
        memmove(c->bytes, c->bytes + total, c->len);
    }
    return true;
}

static void welcome(int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC), on = 1;
    if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE)
            usleep(10000);
        return;
    }
    for (int i = 0; i < CONNECTIONS_MAX; i++) {
        if (connections[i].fd >= 0)
            continue;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        connections[i].fd = fd;
        connections[i].len = 0;
        connections[i].last_request_ms = now_ms();
        return;
    }
    close(fd);
}

static void *server(void *arg)
{
    int listener = (int)(intptr_t)arg;
    for (;;) {
        struct pollfd waits[1 + CONNECTIONS_MAX] = {{.fd = listener, .events = POLLIN}};
        for (int i = 0; i < CONNECTIONS_MAX; i++)
            waits[1 + i] = (struct pollfd){.fd = connections[i].fd, .events = POLLIN};
        poll(waits, 1 + CONNECTIONS_MAX, 1000);
        for (int i = 0; i < CONNECTIONS_MAX; i++) {
            struct connection *c = &connections[i];
            if (c->fd < 0)
                continue;
            bool stays = waits[1 + i].revents == 0 || take_input(c);
            if (!stays || now_ms() - c->last_request_ms >= SILENCE_MS)
                drop(c);
        }
        if (waits[0].revents != 0)
            welcome(listener);
    }
    return NULL;
}

void modbus_tcp_start(void)
{
    struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(PORT)}; /* IPv4 as well */
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1;
    if (fd < 0)
        die("modbus");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&any, sizeof any) != 0 || listen(fd, 16) != 0)
        die("modbus");
    for (int i = 0; i < CONNECTIONS_MAX; i++)
        connections[i].fd = -1;
    thread_start(server, (void *)(intptr_t)fd, 0);
}
