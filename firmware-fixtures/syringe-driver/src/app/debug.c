#include "debug.h"

#include "uart.h"

void debug_print(const char *line)
{
    uart_print(LINE_CONSOLE, line);
    uart_print(LINE_CONSOLE, "\r\n");
}
