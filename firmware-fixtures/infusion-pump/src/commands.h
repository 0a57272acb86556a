/* The commands behind the prompt (VP1-ICD 2.5). */
#ifndef VP1_COMMANDS_H
#define VP1_COMMANDS_H
#include <stdbool.h>
#include "accounts.h"

struct session {
    struct identity who;
    const char *surface;
    struct lock_table *own_locks;
    bool logged_out;
    void (*shell)(void *to); /* the weakness shell-escape */
    void (*print)(void *to, const char *format, ...) __attribute__((format(printf, 2, 3)));
    void *to;
};

/* Carries out one line and prints the answer, its closing `ok` or `error: REASON` included. */
void command_run(struct session *session, char *line);
#endif
