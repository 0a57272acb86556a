#include "api_session.h"

#include <pthread.h>
#include <sodium.h>
#include <string.h>

#include "api.h"
#include "audit.h"
#include "counters.h"
#include "util.h"
#include "weaknesses.h"

#define IDLE_MS 20000
#define PER_ACCOUNT 3
#define SESSIONS_MAX (ACCOUNTS_MAX * PER_ACCOUNT * 4) /* the rest is for the weakness session-limit-missing */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct session_entry {
    bool used;
    bool left; /* logged out under the weakness token-survives-log-off */
    char token[TOKEN_DIGITS + 1];
    struct identity who;
    int64_t last_ms;
} sessions[SESSIONS_MAX];

static void sweep_locked(void)
{
    for (int i = 0; i < SESSIONS_MAX; i++) {
        struct session_entry *s = &sessions[i];
        if (!s->used)
            continue;
        bool idle = now_ms() - last_input_ms(s->last_ms) >= IDLE_MS && !weak(WEAK_IDLE_LOG_OFF_MISSING);
        if (!idle && identity_stands(&s->who))
            continue;
        audit(s->who.name, "api", "logout", "accepted", idle ? "idle" : "ended");
        sodium_memzero(s, sizeof *s);
    }
}

void sessions_sweep(void)
{
    pthread_mutex_lock(&lock);
    sweep_locked();
    pthread_mutex_unlock(&lock);
}

void sessions_end(void)
{
    pthread_mutex_lock(&lock);
    sodium_memzero(sessions, sizeof sessions);
    pthread_mutex_unlock(&lock);
}

bool session_open(const struct identity *who, char token[TOKEN_DIGITS + 1])
{
    uint8_t bytes[TOKEN_DIGITS / 2];
    struct session_entry *place = NULL;
    int open = 0;
    random_bytes(bytes, sizeof bytes); /* straight from the kernel: a clone of a saved state must not repeat it */
    pthread_mutex_lock(&lock);
    sweep_locked();
    for (int i = 0; i < SESSIONS_MAX; i++) {
        if (!sessions[i].used)
            place = &sessions[i];
        else
            open += sessions[i].who.account == who->account && !sessions[i].left;
    }
    if (open >= PER_ACCOUNT && !weak(WEAK_SESSION_LIMIT_MISSING))
        place = NULL;
    if (place != NULL) {
        *place = (struct session_entry){.used = true, .who = *who, .last_ms = now_ms()};
        sodium_bin2hex(place->token, sizeof place->token, bytes, sizeof bytes);
        memcpy(token, place->token, sizeof place->token);
    }
    pthread_mutex_unlock(&lock);
    return place != NULL;
}

/* The session of a token, or NULL; takes the same time wherever it differs. */
static struct session_entry *find(const char *token)
{
    struct session_entry *found = NULL;
    if (strlen(token) != TOKEN_DIGITS)
        return NULL;
    for (int i = 0; i < SESSIONS_MAX; i++)
        if (sodium_memcmp(sessions[i].token, token, TOKEN_DIGITS) == 0 && sessions[i].used)
            found = &sessions[i];
    return found;
}

bool session_check(const char *token, struct identity *who)
{
    pthread_mutex_lock(&lock);
    sweep_locked();
    struct session_entry *s = find(token);
    if (s != NULL) {
        s->last_ms = now_ms();
        *who = s->who;
    }
    pthread_mutex_unlock(&lock);
    return s != NULL;
}

static void log_in(struct call *call)
{
    static const char *const results[] = {"accepted", "refused", "locked"};
    const char *name, *password;
    char token[TOKEN_DIGITS + 1];
    if (json_unpack_ex(call->body, NULL, JSON_STRICT, "{s:s, s:s}", "user", &name, "password", &password) != 0) {
        api_bad_argument(call);
        return;
    }
    enum login_result result = accounts_login(name, password, EVERYBODY, call->locks, &call->who);
    bool full = result == LOGIN_ACCEPTED && !session_open(&call->who, token);
    audit(account_recorded(&call->who, name), "api", "login", full ? "refused" : results[result],
          full ? "sessions" : NULL);
    if (full)
        api_refuse(call, 429, "too many sessions");
    else if (result == LOGIN_ACCEPTED)
        api_answer(call, 200, json_pack("{s:s, s:s}", "token", token, "role", role_name(call->who.role)));
    else
        api_refuse(call, result == LOGIN_LOCKED ? 423 : 401, result == LOGIN_LOCKED ? "account locked" : "login refused");
    sodium_memzero(token, sizeof token);
}

static void log_out(struct call *call)
{
    if (json_object_size(call->body) > 0) {
        api_bad_argument(call);
        return;
    }
    pthread_mutex_lock(&lock);
    struct session_entry *s = find(api_header(call, MHD_HTTP_HEADER_AUTHORIZATION) + strlen("Bearer "));
    if (s != NULL && weak(WEAK_TOKEN_SURVIVES_LOG_OFF))
        s->left = true; /* its token stays good, its place is free: else few log-ins would fill the limit */
    else if (s != NULL)
        sodium_memzero(s, sizeof *s);
    pthread_mutex_unlock(&lock);
    api_record(call, "logout", "accepted", NULL);
    api_done(call);
}

const struct route routes_session[] = {
    {.method = "POST", .path = "/api/login", .body = BODY_JSON, .body_max = API_JSON_MAX, .run = log_in},
    {.method = "POST", .path = "/api/logout", .roles = EVERYBODY, .body = BODY_JSON, .body_max = API_JSON_MAX, .run = log_out},
    {.method = NULL},
};
