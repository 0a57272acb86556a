/* Starts the application: sockets first, then without privileges. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "gateway.h"

#define APP_ID 900
#define EXIT_REBOOT 10

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char weaknesses[2048], own_version[24] = "?";
bool reboot_asked;

struct door {
    int fd;
    void *(*serve)(void *);
};

void gateway_lock(void) { pthread_mutex_lock(&lock); }
void gateway_unlock(void) { pthread_mutex_unlock(&lock); }
const char *version(void) { return own_version; }

uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

bool weak(const char *name)
{
    size_t len = strlen(name);
    for (const char *at = weaknesses; (at = strstr(at, name)) != NULL; at += len)
        if ((at == weaknesses || at[-1] == ',') && (at[len] == ',' || at[len] == '\0'))
            return true;
    return false;
}

static void read_line(const char *path, char *line, size_t size)
{
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return;
    if (fgets(line, (int)size, file) != NULL)
        line[strcspn(line, "\r\n")] = '\0';
    fclose(file);
}

static int door_at(const char *path, gid_t group)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(at.sun_path, sizeof at.sun_path, "%s", path);
    unlink(path);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) != 0 || chown(path, APP_ID, group) != 0
        || chmod(path, 0660) != 0 || listen(fd, 64) != 0) {
        perror(path);
        exit(1);
    }
    return fd;
}

static void *accept_all(void *arg)
{
    struct door *door = arg;
    for (;;) {
        int fd = accept4(door->fd, NULL, NULL, SOCK_CLOEXEC);
        pthread_t thread;
        pthread_attr_t detached;
        if (fd < 0) {
            usleep(10000); /* no descriptors left: their owners are given up after their idle time */
            continue;
        }
        pthread_attr_init(&detached);
        pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
        pthread_attr_setstacksize(&detached, 256 * 1024);
        if (pthread_create(&thread, &detached, door->serve, (void *)(intptr_t)fd) != 0)
            close(fd);
        pthread_attr_destroy(&detached);
    }
    return NULL;
}

/* argv: folder of this version of the application; group of the web server; group of the SSH menu. */
int main(int argc, char **argv)
{
    char path[256];
    struct door api, menu;
    pthread_t threads[2];
    if (argc != 4)
        return 2;
    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, NULL, _IOLBF, 0);
    read_line(RUN_DIR "/weaknesses", weaknesses, sizeof weaknesses);
    snprintf(path, sizeof path, "%s/version", argv[1]);
    read_line(path, own_version, sizeof own_version);
    api = (struct door){door_at(RUN_DIR "/api.sock", (gid_t)atoi(argv[2])), api_serve};
    menu = (struct door){door_at(RUN_DIR "/menu.sock", (gid_t)atoi(argv[3])), menu_serve};
    umask(077);
    if (setgroups(0, NULL) != 0 || setresgid(APP_ID, APP_ID, APP_ID) != 0 || setresuid(APP_ID, APP_ID, APP_ID) != 0)
        return 1;
    audit_open();
    if (!store_load()) {
        fprintf(stderr, "gatewayd: accounts and settings cannot be read\n");
        return 1;
    }
    update_start();
    pthread_create(&threads[0], NULL, accept_all, &api);
    pthread_create(&threads[1], NULL, accept_all, &menu);
    for (bool asked = false, up = false; !asked; usleep(100000)) {
        if (!up && (up = services_up()))
            printf(MODEL " up\n");
        gateway_lock();
        asked = reboot_asked;
        session_find("", false); /* ends those that are idle */
        gateway_unlock();
    }
    usleep(300000); /* the answer to who asked is on its way */
    return EXIT_REBOOT;
}
