#include "modbus_identity.h"

#include <string.h>

#include "version.h"

enum { MEI_IDENTIFICATION = 0x0E, BASIC_STREAM = 1, EXTENDED_STREAM = 3, ONE_OBJECT = 4, CONFORMITY = 0x81 };
#define OBJECTS 3u

static const char *object(unsigned id, char *buffer, size_t size)
{
    struct text text;
    if (id == 0)
        return "Meridian (fixture)";
    if (id == 1)
        return IMAGE_MODEL;
    text_begin(&text, buffer, size);
    version_put(&text, RUNNING);
    return buffer;
}

size_t modbus_identify(const uint8_t *request, size_t length, uint8_t *answer)
{
    if (length < 2 || request[1] != MEI_IDENTIFICATION) {
        answer[0] = 1;
        return 0;
    }
    if (length != 4 || request[2] < BASIC_STREAM || request[2] > ONE_OBJECT) {
        answer[0] = 3;
        return 0;
    }
    bool single = request[2] == ONE_OBJECT;
    unsigned first = request[3];
    if (first >= OBJECTS) {
        if (single) {
            answer[0] = 2;
            return 0;
        }
        first = 0; /* a stream that begins nowhere begins at the first object */
    }
    unsigned last = single ? first : OBJECTS - 1;
    size_t at = 7;
    for (unsigned id = first; id <= last; id++) {
        char buffer[20];
        const char *value = object(id, buffer, sizeof buffer);
        size_t size = strlen(value);
        answer[at++] = (uint8_t)id;
        answer[at++] = (uint8_t)size;
        memcpy(answer + at, value, size);
        at += size;
    }
    uint8_t head[7] = {0x2B, MEI_IDENTIFICATION, request[2], CONFORMITY, 0, 0, (uint8_t)(last - first + 1)};
    memcpy(answer, head, sizeof head);
    return at;
}
