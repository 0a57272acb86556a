#define _GNU_SOURCE
#include "update.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "audit.h"
#include "storage.h"
#include "trial.h"
#include "update_fetch.h"
#include "updater.h"
#include "util.h"
#include "version.h"
#include "weaknesses.h"

#define TRANSFERS 4 /* more than one at a time only with the weakness two-updates-at-once */
#define REBOOT_AFTER_MS 700
#define TICK_MS 250

enum state { IDLE, RECEIVING, VERIFYING, WRITING, READY, REFUSED, TRYING, FAILED };
static const char *const state_names[] = {"idle",  "receiving", "verifying", "writing",
                                          "ready", "refused",   "trying",    "failed"};

struct transfer {
    int number; /* 0: free; names the file too, never used again */
    int fd;
    size_t length, received;
    int64_t last_ms;
    char name[64];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct transfer transfers[TRANSFERS];
static int last_number;
static enum state state;
static char detail[32] = "-", target[VERSION_TEXT_MAX] = "-";
static char user[32], surface[16]; /* who ordered the update */
static int64_t reboot_at_ms;
static int updater = -1, console = -1;

static bool busy_locked(void) { return state == RECEIVING || state == VERIFYING || state == WRITING || state == TRYING; }

static void enter_locked(enum state next, const char *why)
{
    char line[80];
    state = next;
    snprintf(detail, sizeof detail, "%s", why);
    int len = snprintf(line, sizeof line, "\r\nupdate: %s %s\r\n", state_names[next],
                       strcmp(why, "-") == 0 ? target : why);
    write_all(console, line, (size_t)len);
    if (next == IDLE)
        snprintf(target, sizeof target, "-");
}

static void ask_updater(const char *request) { send(updater, request, strlen(request), MSG_NOSIGNAL); }

static void path_of(int number, char path[64]) { snprintf(path, 64, UPDATE_BUNDLE, (unsigned)number); }

static void refuse_locked(const char *reason)
{
    enter_locked(REFUSED, reason);
    audit(user[0] ? user : NULL, surface, "update", "refused", reason);
}

static struct transfer *find_locked(int number)
{
    for (int i = 0; i < TRANSFERS; i++)
        if (transfers[i].number == number)
            return &transfers[i];
    return NULL;
}

/* Ends a transfer without a bundle. */
static void give_up_locked(struct transfer *t)
{
    char path[64];
    path_of(t->number, path);
    close(t->fd);
    unlink(path);
    t->number = 0;
    refuse_locked("transfer");
}

/* A name is passed on in a packet of words and decides nothing. */
static void keep_name(const char *name, char *into, size_t size)
{
    size_t len = 0;
    for (; name != NULL && *name != '\0' && len + 1 < size; name++)
        if (*name > ' ' && *name <= '~')
            into[len++] = *name;
    into[len] = '\0';
    if (len == 0)
        snprintf(into, size, "-");
}

static enum update_result begin_locked(const struct update_order *order, size_t length, int *transfer)
{
    char path[64];
    struct transfer *t = find_locked(0);
    if (t == NULL || (busy_locked() && !(weak(WEAK_TWO_UPDATES_AT_ONCE) && state != TRYING)))
        return UPDATE_BUSY;
    *t = (struct transfer){.number = ++last_number, .length = length, .last_ms = now_ms()};
    path_of(t->number, path);
    unlink(path); /* of an application before this one */
    t->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    keep_name(order->name, t->name, sizeof t->name);
    snprintf(user, sizeof user, "%s", order->user != NULL ? order->user : "");
    snprintf(surface, sizeof surface, "%s", order->surface);
    snprintf(target, sizeof target, "-");
    enter_locked(RECEIVING, "-");
    *transfer = t->number;
    return UPDATE_ACCEPTED;
}

enum update_result update_begin(const struct update_order *order, size_t length, int *transfer)
{
    if (length == 0)
        return UPDATE_BAD_ARGUMENT;
    if (length > UPDATE_BUNDLE_MAX)
        return UPDATE_TOO_LARGE;
    pthread_mutex_lock(&lock);
    enum update_result result = begin_locked(order, length, transfer);
    pthread_mutex_unlock(&lock);
    return result;
}

bool update_write(int transfer, const void *bytes, size_t len)
{
    pthread_mutex_lock(&lock);
    struct transfer *t = find_locked(transfer);
    bool going_on = t != NULL && len <= t->length - t->received && write_all(t->fd, bytes, len);
    if (going_on) {
        t->received += len;
        t->last_ms = now_ms();
    } else if (t != NULL) {
        give_up_locked(t);
    }
    pthread_mutex_unlock(&lock);
    return going_on;
}

bool update_end(int transfer)
{
    char request[UPDATER_PACKET];
    pthread_mutex_lock(&lock);
    struct transfer *t = find_locked(transfer);
    bool whole = t != NULL && t->received == t->length;
    if (whole) {
        close(t->fd);
        state = VERIFYING; /* said on the console when the updater begins */
        snprintf(request, sizeof request, "install %d %s", t->number, t->name);
        ask_updater(request); /* which removes the file */
        t->number = 0;
    } else if (t != NULL) {
        give_up_locked(t);
    }
    pthread_mutex_unlock(&lock);
    return whole;
}

void update_abort(int transfer)
{
    pthread_mutex_lock(&lock);
    struct transfer *t = find_locked(transfer);
    if (t != NULL)
        give_up_locked(t);
    pthread_mutex_unlock(&lock);
}

bool update_set_length(int transfer, size_t length)
{
    pthread_mutex_lock(&lock);
    struct transfer *t = find_locked(transfer);
    bool possible = t != NULL && length > 0 && length <= UPDATE_BUNDLE_MAX;
    if (possible)
        t->length = length;
    pthread_mutex_unlock(&lock);
    return possible;
}

enum update_result update_fetch(const struct update_order *order, const char *url)
{
    struct update_order named = *order;
    int transfer;
    if (!fetch_url_valid(url))
        return UPDATE_BAD_ARGUMENT;
    named.name = strrchr(url, '/') + 1;
    enum update_result result = update_begin(&named, UPDATE_BUNDLE_MAX, &transfer);
    if (result == UPDATE_ACCEPTED)
        fetch_start(transfer, url);
    return result;
}

void update_status(struct update_status *into)
{
    pthread_mutex_lock(&lock);
    into->state = state_names[state];
    snprintf(into->detail, sizeof into->detail, "%s", detail);
    snprintf(into->target, sizeof into->target, "%s", target);
    pthread_mutex_unlock(&lock);
    into->slot[0] = trial_slot();
    into->slot[1] = '\0';
    snprintf(into->version, sizeof into->version, "%s", version_text());
}

bool update_busy(void)
{
    pthread_mutex_lock(&lock);
    bool busy = busy_locked() && state != TRYING;
    pthread_mutex_unlock(&lock);
    return busy;
}

void update_reboot(void)
{
    pthread_mutex_lock(&lock);
    if (reboot_at_ms == 0)
        reboot_at_ms = now_ms() + REBOOT_AFTER_MS;
    pthread_mutex_unlock(&lock);
}

/* What the updater says about an installation. */
static void take_answer(const char *word, const char *rest)
{
    pthread_mutex_lock(&lock);
    if (strcmp(word, "verifying") == 0) {
        enter_locked(VERIFYING, "-");
    } else if (strcmp(word, "writing") == 0) {
        snprintf(target, sizeof target, "%s", rest);
        trial_expect("writing", target);
        enter_locked(WRITING, "-");
    } else if (strcmp(word, "ready") == 0) {
        trial_expect("ready", target);
        enter_locked(READY, "-");
        audit(user[0] ? user : NULL, surface, "update", "accepted", target);
    } else if (strcmp(word, "refused") == 0) {
        if (state == WRITING) /* else what the other slot had is still there */
            trial_forget();
        refuse_locked(rest);
    }
    pthread_mutex_unlock(&lock);
}

static void look_after_time(void)
{
    pthread_mutex_lock(&lock);
    for (int i = 0; i < TRANSFERS; i++)
        if (transfers[i].number != 0 && now_ms() - transfers[i].last_ms > UPDATE_STALL_MS)
            give_up_locked(&transfers[i]);
    bool reboot = reboot_at_ms != 0 && now_ms() >= reboot_at_ms;
    pthread_mutex_unlock(&lock);
    if (reboot) {
        storage_flush();
        ask_updater("reboot");
    }
}

/* Puts an end to a trial: the slot is marked good, or the pump restarts to try again. */
static void finish_trial(void)
{
    bool trial = trial_running();
    bool passed = trial_self_test();
    pthread_mutex_lock(&lock);
    if (passed) {
        ask_updater("good");
        close(open("/run/vp1/ready", O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
        if (trial)
            trial_passed();
    }
    if (trial && passed) {
        audit(NULL, "system", "update", "accepted", target);
        enter_locked(IDLE, "-");
    } else if (!passed) {
        audit(NULL, "system", "update", "refused", "self-test");
        enter_locked(FAILED, "self-test");
    }
    pthread_mutex_unlock(&lock);
    if (trial && !passed)
        update_reboot();
}

static void *answers_thread(void *unused)
{
    (void)unused;
    for (;;) {
        struct pollfd input = {.fd = updater, .events = POLLIN};
        char packet[UPDATER_PACKET], word[16], rest[VERSION_TEXT_MAX];
        int ready = poll(&input, 1, TICK_MS);
        ssize_t n = ready > 0 ? recv(updater, packet, sizeof packet - 1, 0) : 0;
        if (ready > 0 && n <= 0)
            die("updater");
        packet[n > 0 ? n : 0] = '\0';
        if (sscanf(packet, "%15s %19s", word, rest) == 2)
            take_answer(word, rest);
        look_after_time();
    }
    return NULL;
}

static void *trial_thread(void *unused)
{
    (void)unused;
    finish_trial();
    return NULL;
}

void update_start_updater(void)
{
    int ends[2];
    console = open("/dev/ttyAMA0", O_WRONLY | O_NOCTTY | O_CLOEXEC);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
        die("updater");
    pid_t child = fork();
    if (child == 0) {
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        dup2(ends[1], STDIN_FILENO);
        execl(UPDATER, UPDATER, (char *)NULL);
        _exit(127);
    }
    if (child < 0)
        die("updater");
    close(ends[1]);
    updater = ends[0];
    trial_load();
}

void update_start(void)
{
    char version[VERSION_TEXT_MAX];
    pthread_mutex_lock(&lock);
    const char *failure = trial_failure(version);
    if (trial_running()) {
        snprintf(target, sizeof target, "%s", version_text());
        enter_locked(TRYING, "-");
    } else if (failure != NULL) {
        snprintf(target, sizeof target, "%s", version);
        audit(NULL, "system", "update", "refused", failure);
        enter_locked(FAILED, failure);
        trial_forget();
    }
    pthread_mutex_unlock(&lock);
    thread_start(answers_thread, NULL, 0);
    thread_start(trial_thread, NULL, 0);
}
