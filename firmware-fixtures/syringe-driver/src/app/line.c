#include "line.h"

#include <string.h>

#include "crc.h"
#include "uart.h"
#include "weaknesses.h"

bool line_feed(struct line_in *line, uint8_t byte)
{
    if (byte == '\r' || byte == '\n')
        return line->length || line->too_long || line->bad_byte;
    if (byte < 0x20 || byte > 0x7E)
        line->bad_byte = true;
    else if (line->length == LINE_LONGEST)
        line->too_long = true;
    else
        line->bytes[line->length++] = (char)byte;
    line->bytes[line->length] = '\0';
    return false;
}

const char *line_parse(struct line_in *line, char sequence[3], char **body)
{
    char *text = line->bytes;
    uint32_t number, told;
    strcpy(sequence, "--");
    if (line->too_long)
        return "line-too-long";
    if (line->bad_byte)
        return "bad-character";
    char *star = strrchr(text, '*');
    if (text[0] != '>' || !star || star < text + 5 || strlen(star) != 5 || !parse_hex(text + 1, 2, &number) ||
        text[3] != ' ' || !parse_hex(star + 1, 4, &told))
        return "framing";
    memcpy(sequence, text + 1, 2);
    if (told != crc16_line(text + 1, (size_t)(star - text - 1)) && !weak(WEAK_CHECKSUM_UNCHECKED))
        return "checksum";
    *star = '\0';
    *body = text + 4;
    return NULL;
}

bool line_send(char mark, const struct text *text)
{
    static char line[512];
    struct text whole;
    text_begin(&whole, line, sizeof line);
    text_char(&whole, mark);
    text_put(&whole, text->start);
    text_char(&whole, '*');
    text_hex(&whole, crc16_line(text->start, text_length(text)), 4);
    text_put(&whole, "\r\n");
    return uart_send(LINE_VENDOR, line, text_length(&whole));
}
