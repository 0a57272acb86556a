/* Who is logged in on the vendor line: log-in, lock-out, idle log-off. */
#ifndef SD_SESSION_H
#define SD_SESSION_H
#include "settings.h"

void session_start(void);
enum account session_user(void);
const char *account_name(enum account account);
/* By name; NOBODY when there is none. */
enum account account_called(const char *name);

/* Each answers NULL, or the reason of a refusal. */
const char *session_log_in(const char *name, const char *pin);
const char *session_change_pin(const char *old, const char *fresh);

void session_end(const char *reason);
void session_unlock(enum account account);
/* A request has come: the idle time begins anew. */
void session_touch(void);
/* Ends idle sessions and releases locks. */
void session_poll(void);
#endif
