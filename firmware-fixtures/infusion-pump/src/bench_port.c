#include "bench.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CLASS "/sys/class/virtio-ports"

static bool find(const char *name, char *device, size_t size)
{
    char path[300], text[64];
    struct dirent *entry;
    bool found = false;
    DIR *dir = opendir(CLASS);
    while (dir != NULL && !found && (entry = readdir(dir)) != NULL) {
        snprintf(path, sizeof path, CLASS "/%s/name", entry->d_name);
        FILE *file = fopen(path, "re");
        if (file == NULL)
            continue;
        found = fgets(text, sizeof text, file) != NULL && strncmp(text, name, strlen(name)) == 0
                && text[strlen(name)] == '\n';
        fclose(file);
        if (found)
            snprintf(device, size, "/dev/%s", entry->d_name);
    }
    if (dir != NULL)
        closedir(dir);
    return found;
}

void port_open(struct port *port, const char *name)
{
    char device[280];
    memset(port, 0, sizeof *port);
    for (int i = 0; i < 100; i++, usleep(100000)) {
        if (!find(name, device, sizeof device))
            continue;
        port->fd = open(device, O_RDWR | O_NONBLOCK | O_CLOEXEC);
        if (port->fd >= 0)
            return;
    }
    fprintf(stderr, "benchd: no port %s\r\n", name);
    exit(1);
}

bool port_connected(struct port *port)
{
    struct pollfd state = {.fd = port->fd};
    return poll(&state, 1, 0) >= 0 && (state.revents & POLLHUP) == 0;
}

void port_drop_input(struct port *port)
{
    char bytes[4096];
    while (!port_connected(port) && read(port->fd, bytes, sizeof bytes) > 0)
        ; /* once somebody is there again, it may already be theirs */
    port->len = 0;
    port->too_long = false;
}

bool port_write(struct port *port, const char *bytes, size_t len)
{
    while (len > 0) {
        struct pollfd room = {.fd = port->fd, .events = POLLOUT};
        poll(&room, 1, 1000);
        if (room.revents & POLLHUP)
            return false;
        ssize_t n = write(port->fd, bytes, len);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return false;
        if (n > 0) {
            bytes += n;
            len -= (size_t)n;
        }
    }
    return true;
}

bool port_read(struct port *port, char end, int wait_ms, port_unit take, void *arg)
{
    char bytes[4096];
    struct pollfd input = {.fd = port->fd, .events = POLLIN};
    poll(&input, 1, wait_ms);
    if (input.revents & POLLHUP)
        return false;
    ssize_t n = input.revents & POLLIN ? read(port->fd, bytes, sizeof bytes) : 0;
    for (ssize_t i = 0; i < n; i++) {
        if (port->len < sizeof port->line - 1)
            port->line[port->len++] = bytes[i];
        else
            port->too_long = true;
        if (bytes[i] != end)
            continue;
        port->line[port->len] = '\0';
        if (!port->too_long)
            take(arg, port->line);
        port->len = 0;
        port->too_long = false;
    }
    return true;
}
