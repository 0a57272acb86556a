#define _GNU_SOURCE
#include "commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "audit.h"
#include "counters.h"
#include "pump.h"
#include "weaknesses.h"

#define AUDIT_DEFAULT 20
#define AUDIT_MOST 200
#define WORDS_MAX 4

static const char ok[] = "";
static const char bad_argument[] = "bad argument";
static const char unknown_command[] = "unknown command";

#define print(...) session->print(session->to, __VA_ARGS__)

static const char *who(const struct session *session) { return session->who.name; }

static void record(const struct session *session, const char *event, const char *detail)
{
    audit(who(session), session->surface, event, "accepted", detail);
}

/* A decimal number of digits only, at most `most`; -1 otherwise. */
static long whole_number(const char *text, long most)
{
    if (text[0] == '\0' || strspn(text, "0123456789") != strlen(text) || strlen(text) > 6)
        return -1;
    long value = strtol(text, NULL, 10);
    return value <= most ? value : -1;
}

/* "50" or "50.0" as tenths; -1 for anything else. */
static long tenths(const char *text)
{
    char whole[8];
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 5)
        return -1;
    memcpy(whole, text, digits);
    whole[digits] = '\0';
    long value = strtol(whole, NULL, 10) * 10;
    const char *rest = text + digits;
    if (*rest == '\0')
        return value;
    if (rest[0] != '.' || rest[1] < '0' || rest[1] > '9' || rest[2] != '\0')
        return -1;
    return value + (rest[1] - '0');
}

static void identity(struct session *session)
{
    print("model: %s\r\nserial: %s\r\nversion: %s\r\n", PUMP_MODEL, PUMP_SERIAL, PUMP_VERSION);
}

static const char *do_status(struct session *session, int words, char **word)
{
    (void)words, (void)word;
    struct pump_view v = pump_view();
    identity(session);
    print("uptime_ms: %u\r\nstate: %s\r\nset_rate: %u.%u\r\nflow: %u.%u\r\n", v.uptime_ms, pump_state_name(v.state),
          v.set_rate / 10, v.set_rate % 10, v.flow / 10, v.flow % 10);
    print("volume_ml: %u.%03u\r\nalarm: %u\r\n", v.volume_ul / 1000, v.volume_ul % 1000, v.alarm);
    return ok;
}

static const char *do_version(struct session *session, int words, char **word)
{
    (void)words, (void)word;
    identity(session);
    return ok;
}

static const char *do_start(struct session *session, int words, char **word)
{
    (void)words, (void)word;
    pump_start();
    record(session, "start", NULL);
    return ok;
}

static const char *do_stop(struct session *session, int words, char **word)
{
    (void)words, (void)word;
    pump_stop();
    record(session, "stop", NULL);
    return ok;
}

static const char *do_alarm_test(struct session *session, int words, char **word)
{
    (void)words, (void)word;
    pump_test_alarm();
    record(session, "alarm-test", NULL);
    return ok;
}

static const char *do_rate(struct session *session, int words, char **word)
{
    char text[32];
    long rate = words == 2 ? tenths(word[1]) : -1;
    if (rate < 0 || !pump_set_rate((uint32_t)rate))
        return bad_argument;
    snprintf(text, sizeof text, "%ld.%ld", rate / 10, rate % 10);
    record(session, "rate", text);
    return ok;
}

static const char *do_diagnostics(struct session *session, int words, char **word)
{
    (void)words, (void)word;
    print("modbus_requests: %u\r\ncan_commands: %u\r\nuds_requests: %u\r\nbattery_mv: %u\r\n",
          counter_value(COUNT_MODBUS), counter_value(COUNT_CAN), counter_value(COUNT_UDS), BATTERY_MV);
    return ok;
}

static void print_record(void *arg, const char *line)
{
    struct session *session = arg;
    print("audit: %s\r\n", line);
}

static const char *do_audit(struct session *session, int words, char **word)
{
    long count = words == 2 ? whole_number(word[1], AUDIT_MOST) : AUDIT_DEFAULT;
    if (count < 1)
        return bad_argument;
    audit_last((unsigned)count, print_record, session);
    return ok;
}

static const char *do_config(struct session *session, int words, char **word)
{
    if (words == 1) {
        struct pump_config config;
        pump_config(&config);
        print("alarm_volume: %d\r\nward_name: %s\r\n", config.alarm_volume, config.ward_name);
        return ok;
    }
    if (words != 3)
        return bad_argument;
    if (strcmp(word[1], "alarm_volume") == 0) {
        long value = whole_number(word[2], ALARM_VOLUME_MAX);
        if (value < ALARM_VOLUME_MIN)
            return bad_argument;
        pump_change_setting(SET_ALARM_VOLUME, (uint16_t)value);
    } else if (strcmp(word[1], "ward_name") != 0 || !pump_change_ward_name(word[2])) {
        return bad_argument;
    }
    record(session, "config", word[1]);
    return ok;
}

static const char *do_unlock(struct session *session, int words, char **word)
{
    int account = words == 2 ? account_find(word[1]) : -1;
    if (account < 0)
        return bad_argument;
    account_unlock(account, session->own_locks);
    record(session, "unlock", word[1]);
    return ok;
}

/* The weakness shell-escape. */
static const char *do_shell(struct session *session, int words, char **word)
{
    (void)words, (void)word;
    if (!weak(WEAK_SHELL_ESCAPE))
        return unknown_command;
    session->shell(session->to);
    return ok;
}

static const char *do_logout(struct session *session, int words, char **word)
{
    (void)words, (void)word;
    session->logged_out = true;
    return ok;
}

static const char *do_help(struct session *session, int words, char **word);



static const struct command {
    const char *name;
    unsigned roles;
    int words_max;
    const char *(*run)(struct session *session, int words, char **word);
} commands[] = {
    {"status", EVERYBODY, 1, do_status},
    {"version", EVERYBODY, 1, do_version},
    {"start", ROLE_OPERATOR, 1, do_start},
    {"stop", ROLE_OPERATOR, 1, do_stop},
    {"alarm-test", ROLE_OPERATOR, 1, do_alarm_test},
    {"rate", ROLE_OPERATOR, 2, do_rate},
    {"diagnostics", ROLE_SERVICE, 1, do_diagnostics},
    {"audit", ROLE_ADMIN, 2, do_audit},
    {"config", ROLE_ADMIN, 3, do_config},
    {"unlock", ROLE_ADMIN, 2, do_unlock},
    {"help", EVERYBODY, 1, do_help},
    {"logout", EVERYBODY, 1, do_logout},
    {"shell", EVERYBODY, 1, do_shell},
};
#define COMMAND_COUNT (sizeof commands / sizeof commands[0])

static bool may(const struct session *session, const struct command *command)
{
    unsigned roles = command->roles;
    if (weak(WEAK_ROLE_UNCHECKED) && command->run == do_config)
        roles |= ROLE_SERVICE;
    return (roles & session->who.role) != 0;
}

/* Version 2.0 gives the diagnostics over the API only. */
static bool known(const struct command *command)
{
    return command->run != do_diagnostics || !version_since(2, 0);
}

static const char *do_help(struct session *session, int words, char **word)
{
    (void)words, (void)word;
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (known(&commands[i]) && may(session, &commands[i]) && commands[i].run != do_shell)
            print("command: %s\r\n", commands[i].name);
    return ok;
}

static const char *run(struct session *session, int words, char **word)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        const struct command *c = &commands[i];
        if (strcmp(word[0], c->name) != 0 || !known(c))
            continue;
        if (!may(session, c)) {
            audit(who(session), session->surface, "denied", "refused", c->name);
            return "not permitted";
        }
        return words > c->words_max ? bad_argument : c->run(session, words, word);
    }
    return unknown_command;
}

void command_run(struct session *session, char *line)
{
    char *word[WORDS_MAX + 1], *rest = line, *next;
    int words = 0;
    while (words <= WORDS_MAX && (next = strsep(&rest, " ")) != NULL)
        if (*next != '\0')
            word[words++] = next;
    if (words == 0)
        return;
    const char *reason = run(session, words, word);
    if (*reason == '\0')
        print("ok\r\n");
    else
        print("error: %s\r\n", reason);
}
