/* Requests of the vendor line: who may do what, and the answer. */
#ifndef SD_COMMANDS_H
#define SD_COMMANDS_H
#include "text.h"

#define WORDS_MOST 5u

struct request {
    char sequence[3];
    char *words[WORDS_MOST]; /* the command first */
    unsigned count;
};

enum { FOR_ANYONE = 0, FOR_OPERATOR = 1, FOR_SERVICE = 2, FOR_BOTH = 3 };

struct command {
    const char *name;
    unsigned roles;
    unsigned arguments;
    /* NULL, with ` name=value` words added to the answer, or the reason of a refusal. */
    const char *(*run)(const struct request *request, struct text *answer);
};

extern const struct command therapy_commands[], service_commands[], update_commands[], access_commands[];

/* One line of an answer of several: `<SS item …`. */
void item_begin(struct text *text, char *buffer, size_t size, const struct request *request);
void commands_poll(void);
#endif
