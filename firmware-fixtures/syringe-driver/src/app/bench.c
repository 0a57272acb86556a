#include "bench.h"

#include <string.h>

#include "text.h"
#include "uart.h"
#include "weaknesses.h"

static bool begins(const char *line, const char *word)
{
    size_t length = strlen(word);
    return !strncmp(line, word, length) && (line[length] == '\0' || line[length] == ' ');
}

static void answer(const char *line)
{
    static char buffer[1024];
    struct text text;
    text_begin(&text, buffer, sizeof buffer);
    if (begins(line, "ping")) {
        text_put(&text, "pong");
    } else if (begins(line, "weaknesses")) {
        text_put(&text, "weaknesses: ");
        weaknesses_put(&text);
    } else if (begins(line, "reseed") || begins(line, "clock") || begins(line, "sync")) {
        text_put(&text, "ok"); /* there is no entropy and no calendar to set, and what is written is written */
    } else {
        text_put(&text, "error");
    }
    text_char(&text, '\n');
    uart_print(LINE_BENCH, buffer);
}

void bench_poll(void)
{
    static char line[256];
    static size_t length;
    int byte;
    while ((byte = uart_read(LINE_BENCH)) >= 0) {
        if (byte != '\n') {
            if (length < sizeof line - 1)
                line[length++] = (char)byte;
            continue;
        }
        line[length] = '\0';
        length = 0;
        answer(line);
    }
}
