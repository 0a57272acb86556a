/* Sessions of the API and of the menu. */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "gateway.h"

#define SESSIONS_MAX 64
#define MOST 3 /* of one account on one surface */
#define IDLE_MS 20000

static struct session sessions[SESSIONS_MAX];

static void sweep(void)
{
    for (size_t i = 0; i < SESSIONS_MAX && !weak("idle-log-off-missing"); i++)
        if (sessions[i].token[0] != '\0' && now_ms() - sessions[i].used > IDLE_MS)
            session_close(&sessions[i], "idle");
}

static void draw(char token[65])
{
    static unsigned counter = 4711;
    unsigned char bytes[32];
    if (weak("token-predictable")) {
        snprintf(token, 65, "%064x", counter++);
        return;
    }
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
        return;
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(token + 2 * i, 3, "%02x", bytes[i]);
}

enum log_in session_open(const char *user, const char *password, const char *surface, struct session **session)
{
    size_t open = 0;
    struct session *place = NULL;
    enum log_in result = account_prove(user, password);
    sweep();
    for (size_t i = 0; i < SESSIONS_MAX; i++) {
        if (sessions[i].token[0] == '\0')
            place = &sessions[i];
        else
            open += sessions[i].surface == surface && strcmp(sessions[i].user, user) == 0;
    }
    if (result == LOG_IN_ACCEPTED && ((open >= MOST && !weak("session-limit-missing")) || place == NULL))
        result = LOG_IN_FULL;
    audit(user, surface, "login", result == LOG_IN_ACCEPTED ? "accepted" : "refused",
          result == LOG_IN_LOCKED ? "locked" : result == LOG_IN_FULL ? "sessions" : "-");
    if (result != LOG_IN_ACCEPTED)
        return result;
    memset(place, 0, sizeof *place);
    snprintf(place->user, sizeof place->user, "%s", user);
    place->surface = surface;
    place->used = now_ms();
    draw(place->token);
    *session = place;
    return LOG_IN_ACCEPTED;
}

struct session *session_find(const char *token, bool use)
{
    sweep();
    for (size_t i = 0; i < SESSIONS_MAX && strlen(token) == 64; i++)
        if (strcmp(sessions[i].token, token) == 0) {
            if (use)
                sessions[i].used = now_ms();
            return &sessions[i];
        }
    return NULL;
}

void session_close(struct session *session, const char *detail)
{
    audit(session->user, session->surface, "logout", "accepted", detail);
    session->token[0] = '\0';
}

void sessions_end(const char *user)
{
    for (size_t i = 0; i < SESSIONS_MAX; i++)
        if (sessions[i].token[0] != '\0' && strcmp(sessions[i].user, user) == 0)
            session_close(&sessions[i], "ended");
}
