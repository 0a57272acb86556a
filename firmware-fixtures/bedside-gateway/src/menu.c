/* The service menu that SSH shows: the same accounts, roles and sessions as the API. */
#define _GNU_SOURCE
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gateway.h"

#define LINE_LEN 120
#define LOOK_MS 250          /* how often a waiting session is looked at: it may have been ended */
#define LOGIN_MS 60000
#define PROMPT MODEL "> "

enum stage { AT_LOGIN, AT_PASSWORD, AT_COMMAND, ENDED };

struct menu {
    int fd;
    enum stage stage;
    char line[LINE_LEN + 1], user[LINE_LEN + 1], token[65];
    size_t len;
    bool too_long, after_cr;
    uint64_t since;
};

static void print(struct menu *menu, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    len = len < (int)sizeof text ? len : (int)sizeof text - 1;
    if (write(menu->fd, text, (size_t)len) != len)
        menu->stage = ENDED;
}

static void prompt(struct menu *menu)
{
    static const char *const PROMPTS[] = {"login: ", "password: ", PROMPT};
    if (menu->stage != ENDED)
        print(menu, "%s", PROMPTS[menu->stage]);
    menu->len = 0;
    menu->too_long = false;
}

static void log_in(struct menu *menu)
{
    struct session *session;
    switch (session_open(menu->user, menu->line, "ssh", &session)) {
    case LOG_IN_ACCEPTED:
        strcpy(menu->token, session->token);
        menu->stage = AT_COMMAND;
        print(menu, "ok: logged in as %s\r\n", session->user);
        break;
    case LOG_IN_LOCKED:
        print(menu, "error: account locked\r\n");
        break;
    case LOG_IN_FULL:
        print(menu, "error: too many sessions\r\n");
        break;
    case LOG_IN_REFUSED:
        print(menu, "error: %s\r\n",
              weak("user-enumeration") && account_of(menu->user) == NULL ? "unknown user" : "login refused");
    }
    explicit_bzero(menu->line, sizeof menu->line);
}

static bool status(struct menu *menu, const char *argument)
{
    if (*argument != '\0')
        return false;
    print(menu, "model: " MODEL "\r\nserial: " SERIAL "\r\nversion: %s\r\nuptime_ms: %llu\r\n",
          weak("version-differs") ? "1.0.1" : version(), (unsigned long long)now_ms());
    return true;
}

static bool audit_log(struct menu *menu, const char *argument)
{
    char *end;
    unsigned long last = *argument == '\0' ? 20 : strtoul(argument, &end, 10);
    size_t i;
    json_t *record;
    if (*argument != '\0' && (*end != '\0' || last < 1 || last > 200))
        return false;
    json_t *records = audit_last(last);
    json_array_foreach(records, i, record) print(menu, "audit: %s\r\n", json_string_value(record));
    json_decref(records);
    return true;
}

static bool config(struct menu *menu, const char *argument)
{
    if (*argument != '\0')
        return false;
    print(menu, "ward_name: %s\r\n", ward);
    return true;
}

static bool unlock(struct menu *menu, const char *argument)
{
    (void)menu;
    struct account *account = account_of(argument);
    if (account == NULL)
        return false;
    account->failed = 0;
    account->locked_until = 0;
    audit(session_find(menu->token, false)->user, "ssh", "unlock", "accepted", argument);
    return true;
}

static bool shell(struct menu *menu, const char *argument)
{
    (void)argument;
    gateway_unlock();
    pid_t child = fork();
    if (child == 0) {
        for (int fd = 0; fd < 3; fd++)
            dup2(menu->fd, fd);
        execl("/bin/sh", "sh", "-i", (char *)NULL);
        _exit(127);
    }
    if (child > 0)
        waitpid(child, NULL, 0);
    gateway_lock();
    return true;
}

static void run(struct menu *menu, struct session *session)
{
    static const struct {
        const char *word;
        unsigned roles;
        bool (*run)(struct menu *menu, const char *argument);
    } COMMANDS[] = {
        {"status", TECHNICIAN | ADMINISTRATOR, status},
        {"audit", ADMINISTRATOR, audit_log},
        {"config", ADMINISTRATOR, config},
        {"unlock", ADMINISTRATOR, unlock},
        {"shell", TECHNICIAN | ADMINISTRATOR, shell},
    };
    size_t len = strcspn(menu->line, " ");
    const char *argument = menu->line[len] == ' ' ? menu->line + len + 1 : "";
    if (strcmp(menu->line, "logout") == 0) {
        session_close(session, "-");
        menu->stage = ENDED;
        return;
    }
    for (size_t i = 0; i < sizeof COMMANDS / sizeof *COMMANDS; i++) {
        if (strlen(COMMANDS[i].word) != len || strncmp(COMMANDS[i].word, menu->line, len) != 0
            || (COMMANDS[i].run == shell && !weak("shell-escape")))
            continue;
        if ((COMMANDS[i].roles & account_of(session->user)->role) == 0) {
            audit(session->user, "ssh", "denied", "refused", COMMANDS[i].word);
            print(menu, "error: not permitted\r\n");
        } else {
            print(menu, COMMANDS[i].run(menu, argument) ? "ok\r\n" : "error: bad argument\r\n");
        }
        return;
    }
    if (len > 0)
        print(menu, "error: unknown command\r\n");
}

/* A clinician has nothing to do here: refused as a wrong password is. */
static bool may_enter(const char *user)
{
    struct account *account = account_of(user);
    return account == NULL || account->role != CLINICIAN;
}

static void line_done(struct menu *menu)
{
    print(menu, "\r\n");
    menu->line[menu->len] = '\0';
    gateway_lock();
    struct session *session = session_find(menu->token, true);
    if (menu->too_long) {
        print(menu, "error: line too long\r\n");
        menu->stage = menu->stage == AT_PASSWORD ? AT_LOGIN : menu->stage;
    } else if (menu->stage == AT_LOGIN && menu->len > 0) {
        strcpy(menu->user, menu->line);
        menu->stage = AT_PASSWORD;
    } else if (menu->stage == AT_PASSWORD) {
        menu->stage = AT_LOGIN;
        if (!may_enter(menu->user))
            strcpy(menu->user, "-");
        log_in(menu);
    } else if (menu->stage == AT_COMMAND && session != NULL) {
        run(menu, session);
    }
    gateway_unlock();
    prompt(menu);
}

static void take(struct menu *menu, unsigned char byte)
{
    bool second_half = byte == '\n' && menu->after_cr;
    menu->after_cr = byte == '\r';
    if (second_half)
        return;
    if (byte == '\r' || byte == '\n') {
        line_done(menu);
    } else if (byte == 0x03 || byte == 0x04) {
        print(menu, "\r\n");
        prompt(menu);
    } else if (byte >= 0x20 && byte != 0x7f) {
        menu->too_long |= menu->len == LINE_LEN;
        if (!menu->too_long) {
            menu->line[menu->len++] = (char)byte;
            if (menu->stage != AT_PASSWORD && write(menu->fd, &byte, 1) != 1)
                menu->stage = ENDED;
        }
    }
}

/* Waits for input; false when the menu is over. */
static bool wait_for_input(struct menu *menu)
{
    struct pollfd input = {.fd = menu->fd, .events = POLLIN};
    while (poll(&input, 1, LOOK_MS) == 0) {
        if (menu->stage != AT_COMMAND && now_ms() - menu->since > LOGIN_MS)
            return false;
        gateway_lock();
        bool ended = menu->stage == AT_COMMAND && session_find(menu->token, false) == NULL;
        gateway_unlock();
        if (ended) {
            print(menu, "\r\ninfo: logged off after idle time\r\n");
            menu->token[0] = '\0';
            return false;
        }
    }
    return true;
}

void *menu_serve(void *fd)
{
    struct menu menu = {.fd = (int)(intptr_t)fd, .since = now_ms()};
    print(&menu, "\r\n" MODEL " bedside gateway, service menu\r\nAuthorised users only. Activity is recorded.\r\n");
    prompt(&menu);
    while (menu.stage != ENDED && wait_for_input(&menu)) {
        unsigned char bytes[256];
        ssize_t n = read(menu.fd, bytes, sizeof bytes);
        if (n <= 0)
            break;
        for (ssize_t i = 0; i < n && menu.stage != ENDED; i++)
            take(&menu, bytes[i]);
    }
    gateway_lock();
    struct session *left = session_find(menu.token, false);
    if (left != NULL)
        session_close(left, "disconnected");
    gateway_unlock();
    close(menu.fd);
    return NULL;
}
