#include "weaknesses.h"

#include "board.h"

_Static_assert(WEAKNESS_COUNT <= 64, "the bench sets two words");

bool weak(enum weakness which)
{
    return WEAKNESS_WORDS[which / 32] >> which % 32 & 1;
}

void weaknesses_put(struct text *text)
{
    static const char *const names[] = {
#define WEAKNESS(id, name) name,
#include "weaknesses.def"
#undef WEAKNESS
    };
    bool any = false;
    for (unsigned i = 0; i < WEAKNESS_COUNT; i++) {
        if (!weak((enum weakness)i))
            continue;
        if (any)
            text_char(text, ',');
        text_put(text, names[i]);
        any = true;
    }
    if (!any)
        text_char(text, '-');
}
