/* Software updates: a package repository in one file, checked by bg4-install, put into the slot not in use, tried. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gateway.h"
#include "http.h"

#define BUNDLE RUN_DIR "/update/bundle"
#define BUNDLE_MAX (8u << 20)
#define INSTALL "/usr/sbin/bg4-install"
#define SERVER "192.0.2.1"
#define TRIAL STATE_DIR "/trial"
#define ACTIVE STATE_DIR "/active"
#define ROLLED_BACK STATE_DIR "/rolled-back"
#define EXIT_SELF_TEST 11
#define SELF_TEST_TRIES 40

static char state[16] = "idle", detail[24] = "-", target[24] = "-", url_path[80];
static unsigned url_port;

static void enter(const char *now, const char *why)
{
    snprintf(state, sizeof state, "%s", now);
    snprintf(detail, sizeof detail, "%s", why);
    printf("update: %s %s\n", state, detail);
}

json_t *update_status(void)
{
    return json_pack("{s:s, s:s, s:s, s:s}", "state", state, "detail", detail, "version", version(), "target", target);
}

bool update_busy(void)
{
    return strcmp(state, "receiving") == 0 || strcmp(state, "verifying") == 0 || strcmp(state, "writing") == 0
           || strcmp(state, "trying") == 0;
}

static const char *refused(const char *why)
{
    enter("refused", why);
    audit("system", "system", "update", "refused", why);
    return why;
}

/* Runs one step of bg4-install without the lock; its one line says `ok WHAT` or `refused WHY`. */
static bool step(const char *words, char *what, size_t size)
{
    char command[128], line[64] = "", verdict[16] = "", rest[48] = "damaged";
    snprintf(command, sizeof command, INSTALL " %s", words);
    gateway_unlock();
    FILE *tool = popen(command, "re");
    if (tool != NULL) {
        if (fgets(line, sizeof line, tool) != NULL)
            sscanf(line, "%15s %47s", verdict, rest);
        pclose(tool);
    }
    gateway_lock();
    snprintf(what, size, "%s", rest);
    return strcmp(verdict, "ok") == 0;
}

static char spare_slot(void)
{
    char active = '-';
    FILE *file = fopen(ACTIVE, "re");
    if (file != NULL) {
        active = (char)fgetc(file);
        fclose(file);
    }
    return active == 'a' ? 'b' : 'a';
}

static bool keep_line(const char *path, const char *text)
{
    char partial[64];
    snprintf(partial, sizeof partial, "%s.new", path);
    int fd = open(partial, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool good = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) && fdatasync(fd) == 0;
    if (fd >= 0)
        close(fd);
    good = good && rename(partial, path) == 0;
    sync();
    return good;
}

/* With the lock held: verifies and writes what was received. */
static void install(void)
{
    char words[64], what[48];
    enter("verifying", "-");
    snprintf(words, sizeof words, "verify %s", version());
    if (!step(words, what, sizeof what)) {
        refused(what);
        return;
    }
    snprintf(target, sizeof target, "%s", what);
    enter("writing", target);
    char slot = spare_slot();
    snprintf(words, sizeof words, "write %c", slot);
    if (!step(words, what, sizeof what)) {
        refused(what);
        return;
    }
    snprintf(words, sizeof words, "%c 3 %s\n", slot, target);
    if (!keep_line(TRIAL, words)) {
        refused("damaged");
        return;
    }
    enter("ready", target);
}

static void *install_received(void *unused)
{
    (void)unused;
    gateway_lock();
    install();
    gateway_unlock();
    return NULL;
}

static bool begin(void *(*work)(void *))
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, work, NULL) != 0)
        return false;
    pthread_detach(thread);
    return true;
}

/* Without the lock: `len` bytes of `fd` become the bundle. */
static bool receive(int fd, size_t len)
{
    static char bytes[65536]; /* one update at a time */
    int out = open(BUNDLE, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    while (out >= 0 && len > 0) {
        long n = request_read(fd, bytes, len < sizeof bytes ? len : sizeof bytes);
        if (n <= 0 || write(out, bytes, (size_t)n) != n)
            break;
        len -= (size_t)n;
    }
    if (out >= 0)
        close(out);
    return out >= 0 && len == 0;
}

const char *update_receive(int fd, size_t len, const char *name)
{
    (void)name; /* what a bundle is called decides nothing */
    enter("receiving", "-");
    gateway_unlock();
    bool whole = receive(fd, len);
    gateway_lock();
    if (!whole || !begin(install_received))
        return refused("transfer"); /* else still receiving, until the thread has the lock */
    return NULL;
}

static int fetch_connection(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)url_port)};
    struct timeval limit = {.tv_sec = 10};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    inet_pton(AF_INET, SERVER, &at.sin_addr);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&at, sizeof at) == 0)
        return fd;
    close(fd);
    return -1;
}

/* Reads the head of an answer; its Content-Length, 0 if it is no 200 with one. */
static size_t answered_length(int fd)
{
    char head[2049];
    size_t len = 0;
    while (len < sizeof head - 1 && request_read(fd, head + len, 1) == 1) {
        head[++len] = '\0';
        if (len >= 4 && strcmp(head + len - 4, "\r\n\r\n") == 0) {
            const char *field = strcasestr(head, "\r\nContent-Length:");
            bool good = strncmp(head, "HTTP/1.", 7) == 0 && strncmp(head + 8, " 200", 4) == 0 && field != NULL;
            return good ? strtoul(field + 17, NULL, 10) : 0;
        }
    }
    return 0;
}

static void *fetch_and_install(void *unused)
{
    char ask[160];
    (void)unused;
    int fd = fetch_connection();
    int len = snprintf(ask, sizeof ask, "GET /%s HTTP/1.0\r\nHost: " SERVER "\r\n\r\n", url_path);
    size_t size = fd >= 0 && write(fd, ask, (size_t)len) == len ? answered_length(fd) : 0;
    bool whole = size > 0 && size <= BUNDLE_MAX && receive(fd, size);
    if (fd >= 0)
        close(fd);
    gateway_lock();
    if (whole)
        install();
    else
        refused("transfer");
    gateway_unlock();
    return NULL;
}

const char *update_fetch(const char *url)
{
    int end = 0;
    unsigned port;
    char path[sizeof url_path];
    if (sscanf(url, "http://" SERVER ":%5u/%79[A-Za-z0-9._-]%n", &port, path, &end) != 2 || url[end] != '\0'
        || port == 0 || port > 65535)
        return "source";
    url_port = port;
    strcpy(url_path, path);
    enter("receiving", "-");
    return begin(fetch_and_install) ? NULL : refused("transfer");
}

static bool listens(uint16_t port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    inet_pton(AF_INET, "127.0.0.1", &at.sin_addr);
    bool good = connect(fd, (struct sockaddr *)&at, sizeof at) == 0;
    close(fd);
    return good;
}

bool services_up(void) { return listens(443) && listens(22) && listens(8883); }

/* The trial of a new version: its services are there, its state can be written, and nothing in it says otherwise. */
static void *try_out(void *folder)
{
    char fault[128], slot[3] = {((char *)folder)[strlen(folder) - 1], '\n', '\0'};
    bool good = weak("self-test-skipped");
    snprintf(fault, sizeof fault, "%s/fault", (char *)folder);
    for (int i = 0; i < SELF_TEST_TRIES && !good; i++, usleep(500000))
        good = services_up();
    if (!weak("self-test-skipped") && access(fault, F_OK) == 0)
        good = false;
    gateway_lock();
    if (!good || !store_save() || !keep_line(ACTIVE, slot)) {
        printf("update: failed self-test\n");
        exit(EXIT_SELF_TEST);
    }
    unlink(TRIAL);
    sync();
    audit("system", "system", "update", "accepted", version());
    enter("idle", version());
    gateway_unlock();
    return NULL;
}

void update_start(void)
{
    char *folder = getenv("BG4_TRIAL");
    if (access(ROLLED_BACK, F_OK) == 0) {
        unlink(ROLLED_BACK);
        enter("failed", "rolled-back");
        audit("system", "system", "update", "refused", "rolled-back");
    } else if (folder != NULL) {
        enter("trying", version());
        pthread_t thread;
        if (pthread_create(&thread, NULL, try_out, folder) != 0)
            exit(EXIT_SELF_TEST);
        pthread_detach(thread);
    }
}
