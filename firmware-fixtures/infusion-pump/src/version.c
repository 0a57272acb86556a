#include "version.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

static char text_read[VERSION_TEXT_MAX];
static uint64_t value_read;

bool version_parse(const char *text, uint64_t *value)
{
    *value = 0;
    for (int part = 0; part < 3; part++) {
        size_t digits = strspn(text, "0123456789");
        unsigned long number = strtoul(text, NULL, 10);
        if (digits < 1 || digits > 5 || number > UINT16_MAX || text[digits] != (part < 2 ? '.' : '\0'))
            return false;
        *value = *value << 16 | number;
        text += digits + 1;
    }
    return true;
}

void version_load(const char *path)
{
    if (file_read(path, text_read, sizeof text_read) <= 0)
        die(path);
    text_read[strcspn(text_read, "\n")] = '\0';
    errno = EINVAL;
    if (!version_parse(text_read, &value_read))
        die(path);
}

const char *version_text(void) { return text_read; }
uint16_t version_major(void) { return (uint16_t)(value_read >> 32); }
uint16_t version_minor(void) { return (uint16_t)(value_read >> 16); }
uint16_t version_patch(void) { return (uint16_t)value_read; }

bool version_since(uint16_t major, uint16_t minor)
{
    return value_read >> 16 >= ((uint32_t)major << 16 | minor);
}
