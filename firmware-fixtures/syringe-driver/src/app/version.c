#include "version.h"

void version_put(struct text *text, const struct image_header *header)
{
    text_number(text, header->major);
    text_char(text, '.');
    text_number(text, header->minor);
    text_char(text, '.');
    text_number(text, header->patch);
}
