#define _GNU_SOURCE
#include "dialogue.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "audit.h"
#include "commands.h"
#include "counters.h"
#include "store.h"
#include "util.h"
#include "weaknesses.h"

#define LINE_MAX_BYTES 120
#define IDLE_MS 20000
#define MENU_LOGIN_MS 60000
#define LOOK_MS 1000 /* how often a waiting session is looked at: it may have been ended */

const struct surface surface_console = {"console", ROLE_OPERATOR | ROLE_SERVICE | ROLE_ADMIN, false};
const struct surface surface_ssh = {"ssh", ROLE_SERVICE | ROLE_ADMIN, true};

enum stage { AT_LOGIN, AT_PASSWORD, AT_COMMAND, ENDED };

struct dialogue {
    const struct surface *surface;
    int in, out;
    enum stage stage;
    char line[LINE_MAX_BYTES + 1];
    size_t len;
    bool too_long;
    bool after_cr;
    bool gone;
    char name[LINE_MAX_BYTES + 1];
    struct lock_table locks;
    struct session session;
    char pending[2048];
    size_t pending_len;
};

static void flush(struct dialogue *d)
{
    if (d->pending_len > 0 && !write_all(d->out, d->pending, d->pending_len))
        d->gone = true;
    d->pending_len = 0;
}

static void put(struct dialogue *d, const char *bytes, size_t len)
{
    if (d->pending_len + len > sizeof d->pending)
        flush(d);
    memcpy(d->pending + d->pending_len, bytes, len);
    d->pending_len += len;
}

static void print(void *to, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    put(to, text, len < (int)sizeof text ? (size_t)len : sizeof text - 1);
}

static void prompt(struct dialogue *d)
{
    static const char *const prompts[] = {"login: ", "password: ", "VP-1> "};
    if (d->stage == AT_LOGIN && store_state() == STORE_FIRST_USE)
        print(d, "first use: set up over https\r\n");
    if (d->stage != ENDED)
        print(d, "%s", prompts[d->stage]);
    d->len = 0;
    d->too_long = false;
}

static const char *user_name(const struct dialogue *d)
{
    return d->session.who.account >= 0 ? d->session.who.name : NULL;
}

static void log_in(struct dialogue *d)
{
    static const char *const results[] = {"accepted", "refused", "locked"};
    enum login_result result =
        accounts_login(d->name, d->line, d->surface->roles, &d->locks, &d->session.who);
    audit(account_recorded(&d->session.who, d->name), d->surface->name, "login", results[result], NULL);
    explicit_bzero(d->line, sizeof d->line);
    d->stage = AT_LOGIN;
    if (result == LOGIN_ACCEPTED) {
        d->stage = AT_COMMAND;
        d->session.logged_out = false;
        print(d, "ok: logged in as %s\r\n", user_name(d));
    } else {
        bool tells = weak(WEAK_USER_ENUMERATION) && d->session.who.account < 0;
        print(d, "error: %s\r\n",
              result == LOGIN_LOCKED ? "account locked" : tells ? "unknown user" : "login refused");
    }
}

static void log_out(struct dialogue *d, const char *detail)
{
    audit(user_name(d), d->surface->name, "logout", "accepted", detail);
    d->stage = d->surface->ends_with_logout ? ENDED : AT_LOGIN;
}

static void line_done(struct dialogue *d)
{
    put(d, "\r\n", 2);
    d->line[d->len] = '\0';
    if (d->too_long) {
        print(d, "error: line too long\r\n");
        if (d->stage == AT_PASSWORD)
            d->stage = AT_LOGIN;
    } else if (d->stage == AT_LOGIN) {
        if (d->len > 0) {
            memcpy(d->name, d->line, d->len + 1);
            d->stage = AT_PASSWORD;
        }
    } else if (d->stage == AT_PASSWORD) {
        flush(d); /* the line end shows at once, the hash takes its time */
        log_in(d);
    } else if (!identity_stands(&d->session.who)) {
        print(d, "info: logged off\r\n"); /* between two looks of wait_for_input */
        log_out(d, "ended");
    } else {
        command_run(&d->session, d->line);
        if (d->session.logged_out)
            log_out(d, NULL);
    }
    prompt(d);
}

static void take_byte(struct dialogue *d, unsigned char byte)
{
    bool echo = d->stage != AT_PASSWORD;
    bool second_half = byte == '\n' && d->after_cr;
    d->after_cr = byte == '\r';
    if (second_half)
        return;
    if (byte == '\r' || byte == '\n') {
        line_done(d);
    } else if (byte == 0x03 || byte == 0x04) {
        put(d, "\r\n", 2);
        prompt(d);
    } else if (byte == 0x08 || byte == 0x7f) {
        if (d->len > 0 && !d->too_long) {
            d->len--;
            if (echo)
                put(d, "\b \b", 3);
        }
    } else if (byte >= 0x20) {
        if (d->len == LINE_MAX_BYTES) {
            d->too_long = true;
        } else {
            d->line[d->len++] = (char)byte;
            if (echo)
                put(d, (const char *)&byte, 1);
        }
    }
}

static int64_t silence_allowed_ms(const struct dialogue *d)
{
    if (d->stage == AT_COMMAND)
        return weak(WEAK_IDLE_LOG_OFF_MISSING) ? INT32_MAX : IDLE_MS;
    return d->surface->ends_with_logout ? MENU_LOGIN_MS : INT32_MAX;
}

static int64_t time_left_ms(const struct dialogue *d, int64_t input_ms)
{
    return (d->stage == AT_COMMAND ? last_input_ms(input_ms) : input_ms) + silence_allowed_ms(d) - now_ms();
}

/* Waits for input, the last of which was at `input_ms`; false when the dialogue is over. */
static bool wait_for_input(struct dialogue *d, int64_t input_ms)
{
    bool ended = false;
    for (int64_t left = time_left_ms(d, input_ms); left > 0 && !ended; left = time_left_ms(d, input_ms)) {
        struct pollfd input = {.fd = d->in, .events = POLLIN};
        int ready = poll(&input, 1, left < LOOK_MS ? (int)left : LOOK_MS);
        if (ready > 0)
            return true;
        if (ready < 0 && errno != EINTR)
            return false;
        ended = d->stage == AT_COMMAND && !identity_stands(&d->session.who);
    }
    if (d->stage != AT_COMMAND)
        return !d->surface->ends_with_logout;
    print(d, ended ? "\r\ninfo: logged off\r\n" : "\r\ninfo: logged off after idle time\r\n");
    log_out(d, ended ? "ended" : "idle");
    prompt(d);
    flush(d);
    return d->stage != ENDED && wait_for_input(d, now_ms());
}

/* The weakness shell-escape: a shell on the line, until it ends. */
static void shell(void *to)
{
    struct dialogue *d = to;
    struct termios as_found;
    bool terminal = tcgetattr(d->in, &as_found) == 0;
    flush(d);
    pid_t child = fork();
    if (child == 0) {
        dup2(d->in, 0);
        dup2(d->out, 1);
        dup2(d->out, 2);
        execl("/bin/sh", "sh", "-i", (char *)NULL);
        _exit(127);
    }
    if (child > 0)
        waitpid(child, NULL, 0);
    if (terminal)
        tcsetattr(d->in, TCSADRAIN, &as_found);
}

void dialogue_run(const struct surface *surface, int in, int out)
{
    struct dialogue d = {.surface = surface, .in = in, .out = out};
    d.session = (struct session){
        .who = {.account = -1}, .surface = surface->name, .own_locks = &d.locks, .print = print, .to = &d, .shell = shell};
    print(&d, "\r\nMeridian VP-1 volumetric infusion pump\r\nAuthorised users only. Activity is recorded.\r\n");
    prompt(&d);
    flush(&d);
    int64_t input_ms = now_ms();
    while (d.stage != ENDED && !d.gone && wait_for_input(&d, input_ms)) {
        unsigned char bytes[256];
        ssize_t n = read(in, bytes, sizeof bytes);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n <= 0)
            break;
        for (ssize_t i = 0; i < n && d.stage != ENDED; i++)
            take_byte(&d, bytes[i]);
        flush(&d);
        input_ms = now_ms();
    }
    if (d.stage == AT_COMMAND)
        log_out(&d, "disconnected");
    explicit_bzero(&d, sizeof d);
}
