/* The service engineer's: settings, audit log, locks, restart. */
#include <string.h>

#include "audit.h"
#include "commands.h"
#include "line.h"
#include "restart.h"
#include "session.h"

#define AUDIT_MOST 20u

static const char *settings(const struct request *request, struct text *answer)
{
    for (unsigned i = 0; i < SETTING_COUNT; i++) {
        char buffer[48];
        struct text text;
        item_begin(&text, buffer, sizeof buffer, request);
        text_put(&text, setting_rules[i].name);
        text_char(&text, '=');
        text_number(&text, kept.values[i]);
        line_send('<', &text);
    }
    text_put(answer, " count=");
    text_number(answer, SETTING_COUNT);
    return NULL;
}

static const char *set(const struct request *request, struct text *answer)
{
    (void)answer;
    uint32_t value;
    for (unsigned i = 0; i < SETTING_COUNT; i++) {
        if (strcmp(setting_rules[i].name, request->words[1]))
            continue;
        if (!parse_decimal(request->words[2], 0, &value) || value < setting_rules[i].lowest ||
            value > setting_rules[i].highest)
            return "bad-argument";
        kept.values[i] = (uint16_t)value;
        settings_save();
        audit(SURFACE_VENDOR, session_user(), "set", ACCEPTED, setting_rules[i].name);
        return NULL;
    }
    return "bad-argument";
}

static const char *audit_log(const struct request *request, struct text *answer)
{
    uint32_t from, count, oldest, newest;
    if (!parse_decimal(request->words[1], 0, &from) || !parse_decimal(request->words[2], 0, &count) || count < 1 ||
        count > AUDIT_MOST)
        return "bad-argument";
    unsigned shown = 0;
    if (!audit_range(&oldest, &newest))
        oldest = newest = 0;
    for (uint32_t number = from > oldest ? from : oldest; number && number <= newest && shown < count; number++) {
        char buffer[160];
        struct text text;
        item_begin(&text, buffer, sizeof buffer, request);
        if (!audit_put(&text, number)) {
            text_number(&text, number);
            text_put(&text, " damaged");
        }
        line_send('<', &text);
        shown++;
    }
    text_put(answer, " oldest=");
    text_number(answer, oldest);
    text_put(answer, " newest=");
    text_number(answer, newest);
    text_put(answer, " count=");
    text_number(answer, shown);
    return NULL;
}

static const char *unlock(const struct request *request, struct text *answer)
{
    (void)answer;
    enum account account = account_called(request->words[1]);
    if (account == NOBODY)
        return "bad-argument";
    session_unlock(account);
    audit(SURFACE_VENDOR, session_user(), "unlock", ACCEPTED, account_name(account));
    return NULL;
}

static const char *restart(const struct request *request, struct text *answer)
{
    (void)request, (void)answer;
    audit(SURFACE_VENDOR, session_user(), "restart", ACCEPTED, "-");
    restart_soon();
    return NULL;
}

const struct command service_commands[] = {
    {"settings", FOR_SERVICE, 0, settings}, {"set", FOR_SERVICE, 2, set},         {"audit", FOR_SERVICE, 2, audit_log},
    {"unlock", FOR_SERVICE, 1, unlock},     {"restart", FOR_SERVICE, 0, restart}, {0},
};
