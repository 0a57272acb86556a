/* Framing of the vendor line: `>SS BODY*CCCC` CR in, `<SS …*CCCC` and `!…*CCCC` CR LF out (INTERFACES.md 2.1). */
#ifndef SD_LINE_H
#define SD_LINE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "text.h"

#define LINE_LONGEST 320u /* from `>` to the last digit of the checksum */

struct line_in {
    char bytes[LINE_LONGEST + 1];
    size_t length;
    bool too_long, bad_byte;
};

/* Takes one byte; true when it ends a line that is not empty. */
bool line_feed(struct line_in *line, uint8_t byte);

/* Checks the line and takes it apart: NULL, or the reason of a refusal. `sequence` is then as received, or `--`
 * when it cannot be read. `body` points into the line. */
const char *line_parse(struct line_in *line, char sequence[3], char **body);

/* Sends `mark` (`<` or `!`), the text, and its checksum. False when the line cannot take it. */
bool line_send(char mark, const struct text *text);
#endif
