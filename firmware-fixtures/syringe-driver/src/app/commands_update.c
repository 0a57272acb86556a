/* Software update, piece by piece. */
#include <string.h>

#include "commands.h"
#include "update.h"

static const char *begin(const struct request *request, struct text *answer)
{
    (void)answer;
    uint32_t size;
    if (!parse_decimal(request->words[1], 0, &size))
        return "bad-argument";
    return update_begin(size);
}

static const char *data(const struct request *request, struct text *answer)
{
    uint8_t bytes[UPDATE_CHUNK];
    uint32_t offset, byte;
    const char *digits = request->words[2];
    size_t length = strlen(digits) / 2;
    if (!parse_decimal(request->words[1], 0, &offset) || strlen(digits) % 2 || length < 1 || length > UPDATE_CHUNK)
        return "bad-argument";
    for (size_t i = 0; i < length; i++) {
        if (!parse_hex(digits + 2 * i, 2, &byte))
            return "bad-argument";
        bytes[i] = (uint8_t)byte;
    }
    const char *refusal = update_data(offset, bytes, length);
    if (!refusal) {
        text_put(answer, " received=");
        text_number(answer, offset + (uint32_t)length);
    }
    return refusal;
}

static const char *commit(const struct request *request, struct text *answer)
{
    (void)request;
    return update_commit(answer);
}

static const char *give_up(const struct request *request, struct text *answer)
{
    (void)request, (void)answer;
    return update_abort();
}

static const char *status(const struct request *request, struct text *answer)
{
    (void)request;
    text_char(answer, ' ');
    update_put(answer);
    return NULL;
}

const struct command update_commands[] = {
    {"fw-begin", FOR_SERVICE, 1, begin},   {"fw-data", FOR_SERVICE, 2, data},     {"fw-commit", FOR_SERVICE, 0, commit},
    {"fw-abort", FOR_SERVICE, 0, give_up}, {"fw-status", FOR_SERVICE, 0, status}, {0},
};
