/* Flaws put in on purpose, switched on by the bench before power-on (fixture only). */
#ifndef SD_WEAKNESSES_H
#define SD_WEAKNESSES_H
#include <stdbool.h>

#include "text.h"

enum weakness {
#define WEAKNESS(id, name) WEAK_##id,
#include "weaknesses.def"
#undef WEAKNESS
    WEAKNESS_COUNT
};

bool weak(enum weakness which);
/* The active set, comma-separated, or "-". */
void weaknesses_put(struct text *text);
#endif
