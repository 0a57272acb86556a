/* Sessions of the management API: tokens (VP1-ICD 11.2). */
#ifndef VP1_API_SESSION_H
#define VP1_API_SESSION_H
#include <stdbool.h>

#include "accounts.h"

#define TOKEN_DIGITS 64

/* Makes a token; false if the account has as many sessions as it may. */
bool session_open(const struct identity *who, char token[TOKEN_DIGITS + 1]);

/* Whose it is, if it is good; its idle time begins anew. */
bool session_check(const char *token, struct identity *who);

/* Ends them all. */
void sessions_end(void);

/* Ends sessions that are over by time or by a change of the account (once a second). */
void sessions_sweep(void);
#endif
