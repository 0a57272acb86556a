#define _GNU_SOURCE
#include "terminals.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include "dialogue.h"
#include "util.h"

#define MENUS_MAX 8

static void *console_thread(void *tty)
{
    int fd = (int)(intptr_t)tty;
    for (;;) {
        dialogue_run(&surface_console, fd, fd);
        usleep(200000); /* only reached when the line itself fails */
    }
    return NULL;
}

void console_start(const char *tty)
{
    int fd = open(tty, O_RDWR | O_NOCTTY | O_CLOEXEC);
    struct termios line;
    if (fd < 0 || tcgetattr(fd, &line) != 0)
        die(tty);
    cfmakeraw(&line);
    line.c_iflag = IGNBRK | IGNPAR;
    line.c_cflag = CS8 | CREAD | CLOCAL;
    cfsetspeed(&line, B115200);
    tcsetattr(fd, TCSANOW, &line);
    tcflush(fd, TCIFLUSH); /* keys pressed during boot are nobody's log-in */
    thread_start(console_thread, (void *)(intptr_t)fd, 0);
}

int unix_listener(const char *path, int gid)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    snprintf(at.sun_path, sizeof at.sun_path, "%s", path);
    unlink(path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) != 0 || chown(path, (uid_t)-1, (gid_t)gid) != 0
        || chmod(path, 0660) != 0 || listen(fd, 8) != 0)
        die(path);
    return fd;
}

static atomic_int menus;

static void *menu_thread(void *peer)
{
    int fd = (int)(intptr_t)peer;
    struct timeval stall = {.tv_sec = 10};
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &stall, sizeof stall);
    dialogue_run(&surface_ssh, fd, fd);
    close(fd);
    menus--;
    return NULL;
}

static void *menu_server(void *listener)
{
    for (;;) {
        int fd = accept4((int)(intptr_t)listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0) {
            usleep(10000);
            continue;
        }
        if (menus >= MENUS_MAX) {
            static const char busy[] = "error: too many sessions\r\n";
            send(fd, busy, sizeof busy - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
            close(fd);
            continue;
        }
        menus++;
        thread_start(menu_thread, (void *)(intptr_t)fd, 0);
    }
    return NULL;
}

void menu_start(int menu_gid)
{
    thread_start(menu_server, (void *)(intptr_t)unix_listener(MENU_SOCKET, menu_gid), 0);
}
