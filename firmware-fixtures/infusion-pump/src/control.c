#define _GNU_SOURCE
#include "control.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "can.h"
#include "storage.h"
#include "terminals.h"
#include "util.h"
#include "weaknesses.h"

static void answer(int fd, const char *line)
{
    char text[WEAKNESSES_TEXT] = "error";
    if (strcmp(line, "weaknesses\n") == 0) {
        weaknesses_text(text, sizeof text - 1);
    } else if (strcmp(line, "session\n") == 0) {
        can_new_session();
        strcpy(text, "ok");
    } else if (strcmp(line, "flush\n") == 0) {
        storage_flush();
        strcpy(text, "ok");
    }
    strcat(text, "\n");
    write_all(fd, text, strlen(text));
}

static void *control_thread(void *listener)
{
    for (;;) {
        char line[64];
        int fd = accept4((int)(intptr_t)listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0) {
            usleep(10000);
            continue;
        }
        ssize_t n = read(fd, line, sizeof line - 1);
        if (n > 0) {
            line[n] = '\0';
            answer(fd, line);
        }
        close(fd);
    }
    return NULL;
}

void control_start(void) { thread_start(control_thread, (void *)(intptr_t)unix_listener(CONTROL_SOCKET, 0), 0); }
