/* The serial lines, by interrupt. Sending never waits: a message that does not fit is dropped whole. */
#ifndef SD_UART_H
#define SD_UART_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum line { LINE_VENDOR, LINE_MODBUS, LINE_CONSOLE, LINE_BENCH, LINE_COUNT };

void uart_start(void);
/* The next byte received, or -1. */
int uart_read(enum line line);
bool uart_send(enum line line, const void *bytes, size_t length);
bool uart_print(enum line line, const char *string);
/* Bytes wait to be read. Call with interrupts off. */
bool uart_waiting(void);

void uart0_handler(void);
void uart1_handler(void);
void uart2_handler(void);
void uart3_handler(void);
#endif
