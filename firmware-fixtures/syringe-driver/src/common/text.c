#include "text.h"

void text_begin(struct text *text, char *buffer, size_t size)
{
    text->start = text->at = buffer;
    text->end = buffer + size - 1;
    text->cut = false;
    *buffer = '\0';
}

void text_char(struct text *text, char byte)
{
    if (text->at == text->end) {
        text->cut = true;
        return;
    }
    *text->at++ = byte;
    *text->at = '\0';
}

void text_put(struct text *text, const char *string)
{
    while (*string)
        text_char(text, *string++);
}

void text_number(struct text *text, uint32_t value)
{
    text_decimal(text, value, 0);
}

void text_decimal(struct text *text, uint32_t value, unsigned decimals)
{
    char digits[16];
    unsigned count = 0;
    do {
        digits[count++] = (char)('0' + value % 10);
        value /= 10;
        if (count == decimals)
            digits[count++] = '.';
    } while (value || count <= decimals || digits[count - 1] == '.');
    while (count)
        text_char(text, digits[--count]);
}

void text_hex(struct text *text, uint32_t value, unsigned digits)
{
    while (digits--)
        text_char(text, "0123456789ABCDEF"[value >> (4 * digits) & 15]);
}

size_t text_length(const struct text *text)
{
    return (size_t)(text->at - text->start);
}

bool parse_decimal(const char *word, unsigned decimals, uint32_t *value)
{
    uint32_t number = 0;
    unsigned before = 0, after = 0;
    for (; *word >= '0' && *word <= '9' && before < 9; word++, before++)
        number = number * 10 + (uint32_t)(*word - '0');
    if (before && *word == '.' && decimals) {
        for (word++; *word >= '0' && *word <= '9' && after < decimals; word++, after++)
            number = number * 10 + (uint32_t)(*word - '0');
        if (!after)
            return false;
    }
    if (!before || *word || before + decimals > 9)
        return false;
    for (; after < decimals; after++)
        number *= 10;
    *value = number;
    return true;
}

bool parse_hex(const char *word, unsigned digits, uint32_t *value)
{
    uint32_t number = 0;
    for (unsigned i = 0; i < digits; i++) {
        char byte = word[i];
        if (byte >= '0' && byte <= '9')
            number = number << 4 | (uint32_t)(byte - '0');
        else if (byte >= 'A' && byte <= 'F')
            number = number << 4 | (uint32_t)(byte - 'A' + 10);
        else
            return false;
    }
    *value = number;
    return true;
}
