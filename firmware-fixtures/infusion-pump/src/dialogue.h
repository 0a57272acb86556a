/* The log-in and command dialogue, the same on the serial console and in the SSH menu (VP1-ICD 2). */
#ifndef VP1_DIALOGUE_H
#define VP1_DIALOGUE_H
#include <stdbool.h>

/* What differs between the two surfaces. */
struct surface {
    const char *name;      /* in the audit log */
    unsigned roles;        /* that may log in */
    bool ends_with_logout; /* the menu closes its connection, the console prompts again */
};

extern const struct surface surface_console, surface_ssh;

/* Holds the dialogue on `in`/`out` until the peer is gone or the surface ends it. */
void dialogue_run(const struct surface *surface, int in, int out);
#endif
