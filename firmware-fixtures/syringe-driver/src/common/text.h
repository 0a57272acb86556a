/* Building text in a buffer of fixed size: what does not fit is left out, and the text says so. */
#ifndef SD_TEXT_H
#define SD_TEXT_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct text {
    char *start, *at, *end; /* `end` is the last byte, kept for the terminator */
    bool cut;
};

void text_begin(struct text *text, char *buffer, size_t size);
void text_char(struct text *text, char byte);
void text_put(struct text *text, const char *string);
void text_number(struct text *text, uint32_t value);
/* `value` / 10^decimals, with so many decimals. */
void text_decimal(struct text *text, uint32_t value, unsigned decimals);
void text_hex(struct text *text, uint32_t value, unsigned digits);
size_t text_length(const struct text *text);

/* The whole of `word` as a number without sign, of at most `decimals` decimals, times 10^decimals. */
bool parse_decimal(const char *word, unsigned decimals, uint32_t *value);
/* `digits` upper-case hexadecimal digits. */
bool parse_hex(const char *word, unsigned digits, uint32_t *value);
#endif
