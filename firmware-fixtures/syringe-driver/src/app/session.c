#include "session.h"

#include <string.h>

#include "audit.h"
#include "clock.h"
#include "line.h"
#include "pins.h"
#include "weaknesses.h"

#define THRESHOLD 3u
#define LOCK_MS 15000u
#define IDLE_MS 20000u

static enum account user = NOBODY;
static uint32_t touched, locked_since[ACCOUNT_COUNT];

void session_start(void)
{
    if (weak(WEAK_LOCKOUT_PER_POWER_CYCLE)) {
        kept.locked = 0;
        memset(kept.refused, 0, sizeof kept.refused);
    }
    /* Whoever takes the power gains nothing: the time of a lock begins anew. */
    for (unsigned account = 0; account < ACCOUNT_COUNT; account++)
        locked_since[account] = clock_ms();
}

enum account session_user(void)
{
    return user;
}

const char *account_name(enum account account)
{
    return account == OPERATOR ? "operator" : account == SERVICE ? "service" : "none";
}

enum account account_called(const char *name)
{
    return !strcmp(name, "operator") ? OPERATOR : !strcmp(name, "service") ? SERVICE : NOBODY;
}

static bool locked(enum account account)
{
    return kept.locked >> account & 1;
}

/* Looks at a PIN and keeps the count of refusals. */
static const char *try_pin(enum account account, const char *pin, const char *event)
{
    if (locked(account)) {
        audit_refusal(SURFACE_VENDOR, account, event, LOCKED, "-");
        return "account-locked";
    }
    if (pin_right(account, pin)) {
        if (kept.refused[account]) {
            kept.refused[account] = 0;
            settings_save();
        }
        return NULL;
    }
    if (!weak(WEAK_NO_LOCKOUT)) {
        if (++kept.refused[account] >= THRESHOLD) {
            kept.locked |= (uint8_t)(1u << account);
            locked_since[account] = clock_ms();
        }
        settings_save();
    }
    audit_refusal(SURFACE_VENDOR, account, event, REFUSED, "-");
    return "login-refused";
}

const char *session_log_in(const char *name, const char *pin)
{
    enum account account = account_called(name);
    if (user != NOBODY)
        return "not-possible-now";
    if (!settings_readable())
        return "login-refused";
    if (account == NOBODY) {
        pin_right(OPERATOR, pin); /* the same work as for an account */
        audit_refusal(SURFACE_VENDOR, NOBODY, "login", REFUSED, "-");
        return weak(WEAK_UNKNOWN_USER_TOLD) ? "unknown-user" : "login-refused";
    }
    const char *refusal = try_pin(account, pin, "login");
    if (!refusal) {
        user = account;
        session_touch();
        audit(SURFACE_VENDOR, account, "login", ACCEPTED, "-");
    }
    return refusal;
}

const char *session_change_pin(const char *old, const char *fresh)
{
    const char *refusal = try_pin(user, old, "pin");
    if (refusal)
        return refusal;
    if (!pin_follows_rule(fresh) || !strcmp(old, fresh))
        return "bad-argument";
    pin_set(user, fresh);
    audit(SURFACE_VENDOR, user, "pin", ACCEPTED, "-");
    return NULL;
}

void session_end(const char *reason)
{
    if (user != NOBODY)
        audit(SURFACE_VENDOR, user, "logout", ACCEPTED, reason);
    user = NOBODY;
}

void session_unlock(enum account account)
{
    kept.locked &= (uint8_t)~(1u << account);
    kept.refused[account] = 0;
    settings_save();
}

void session_touch(void)
{
    touched = clock_ms();
}

void session_poll(void)
{
    uint32_t now = clock_ms();
    if (user != NOBODY && now - touched >= IDLE_MS && !weak(WEAK_SESSION_NEVER_ENDS)) {
        char buffer[48];
        struct text text;
        text_begin(&text, buffer, sizeof buffer);
        text_put(&text, "logged-off role=");
        text_put(&text, account_name(user));
        text_put(&text, " reason=idle");
        line_send('!', &text);
        session_end("idle");
    }
    for (unsigned account = 0; account < ACCOUNT_COUNT; account++)
        if (locked((enum account)account) && now - locked_since[account] >= LOCK_MS)
            session_unlock((enum account)account);
}
