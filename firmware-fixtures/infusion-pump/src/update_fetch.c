#define _GNU_SOURCE
#include "update_fetch.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "update.h"
#include "util.h"

#define SERVER "192.0.2.1"
#define START "http://" SERVER
#define HEAD_MAX 8192

struct fetch {
    int transfer;
    uint16_t port;
    char path[FETCH_URL_MAX];
    char head[HEAD_MAX], block[65536];
};

static bool split(const char *url, uint16_t *port, const char **path)
{
    if (strlen(url) >= FETCH_URL_MAX || strncmp(url, START, strlen(START)) != 0)
        return false;
    const char *at = url + strlen(START);
    *port = 80;
    if (*at == ':') {
        size_t digits = strspn(++at, "0123456789");
        unsigned long number = digits >= 1 && digits <= 5 ? strtoul(at, NULL, 10) : 0;
        if (number < 1 || number > 65535)
            return false;
        *port = (uint16_t)number;
        at += digits;
    }
    *path = at;
    for (const char *c = at; *c != '\0'; c++)
        if (*c <= ' ' || *c > '~')
            return false;
    return *at == '/';
}

bool fetch_url_valid(const char *url)
{
    uint16_t port;
    const char *path;
    return split(url, &port, &path);
}

static int connect_to_server(uint16_t port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct timeval stall = {.tv_sec = UPDATE_STALL_MS / 1000};
    inet_pton(AF_INET, SERVER, &at.sin_addr);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &stall, sizeof stall);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &stall, sizeof stall); /* holds for connect too */
    if (connect(fd, (struct sockaddr *)&at, sizeof at) == 0)
        return fd;
    close(fd);
    return -1;
}

/* Reads up to the end of the head, and no byte further; its length or 0. */
static size_t read_head(int fd, char *head)
{
    size_t len = 0;
    while (len < HEAD_MAX - 1 && recv(fd, head + len, 1, 0) == 1) {
        head[++len] = '\0';
        if (len >= 4 && memcmp(head + len - 4, "\r\n\r\n", 4) == 0)
            return len;
    }
    return 0;
}

/* The length the head announces; 0 for an answer that brings no bundle. */
static size_t announced(const char *head)
{
    if (strncmp(head, "HTTP/1.", 7) != 0 || strncmp(head + 8, " 200 ", 5) != 0)
        return 0;
    const char *field = strcasestr(head, "\r\nContent-Length:");
    return field != NULL ? strtoul(field + strlen("\r\nContent-Length:"), NULL, 10) : 0;
}

static bool receive(struct fetch *fetch, int fd)
{
    char *head = fetch->head, *block = fetch->block;
    int len = snprintf(head, HEAD_MAX, "GET %s HTTP/1.0\r\nHost: " SERVER "\r\nConnection: close\r\n\r\n",
                       fetch->path);
    if (!write_all(fd, head, (size_t)len) || read_head(fd, head) == 0)
        return false;
    size_t left = announced(head);
    if (!update_set_length(fetch->transfer, left))
        return false;
    while (left > 0) {
        ssize_t n = recv(fd, block, left < sizeof fetch->block ? left : sizeof fetch->block, 0);
        if (n <= 0 || !update_write(fetch->transfer, block, (size_t)n))
            return false;
        left -= (size_t)n;
    }
    return update_end(fetch->transfer);
}

static void *fetch_thread(void *arg)
{
    struct fetch *fetch = arg;
    int fd = connect_to_server(fetch->port);
    if (fd < 0 || !receive(fetch, fd))
        update_abort(fetch->transfer);
    close(fd);
    free(fetch);
    return NULL;
}

void fetch_start(int transfer, const char *url)
{
    struct fetch *fetch = calloc(1, sizeof *fetch);
    const char *path;
    if (fetch == NULL || !split(url, &fetch->port, &path)) {
        free(fetch);
        update_abort(transfer);
        return;
    }
    fetch->transfer = transfer;
    snprintf(fetch->path, sizeof fetch->path, "%s", path);
    thread_start(fetch_thread, fetch, 0);
}
