#include "uart.h"

#include <string.h>

#include "board.h"

#define RING 4096u /* a power of two */

struct ring {
    uint8_t bytes[RING];
    uint32_t in, out; /* count up for ever */
};

static struct ring received[LINE_COUNT], to_send[LINE_COUNT];
static struct uart_registers *const uarts[LINE_COUNT] = {UART0, UART1, UART2, UART3};

static uint32_t used(const struct ring *ring)
{
    return ring->in - ring->out;
}

/* Takes what has come. When the ring is full the byte stays in the UART, so that an emulated line waits: the
 * speed of a real line would give time to read it. */
static void take(enum line line)
{
    struct uart_registers *uart = uarts[line];
    struct ring *ring = &received[line];
    while (uart->state & UART_RX_FULL && used(ring) < RING)
        ring->bytes[ring->in++ % RING] = (uint8_t)uart->data;
    if (used(ring) == RING)
        uart->control &= ~(uint32_t)UART_RX_INTERRUPT;
}

static void give(enum line line)
{
    struct uart_registers *uart = uarts[line];
    struct ring *ring = &to_send[line];
    while (used(ring) && !(uart->state & UART_TX_FULL))
        uart->data = ring->bytes[ring->out++ % RING];
}

static void handle(enum line line)
{
    uarts[line]->interrupt = UART_TX_PENDING | UART_RX_PENDING;
    take(line);
    give(line);
}

void uart0_handler(void) { handle(LINE_VENDOR); }
void uart1_handler(void) { handle(LINE_MODBUS); }
void uart2_handler(void) { handle(LINE_CONSOLE); }
void uart3_handler(void) { handle(LINE_BENCH); }

void uart_start(void)
{
    for (unsigned line = 0; line < LINE_COUNT; line++) {
        uarts[line]->divider = line == LINE_MODBUS ? CLOCK_HZ / 19200 : CLOCK_HZ / 115200;
        uarts[line]->control = UART_TX_ON | UART_RX_ON | UART_TX_INTERRUPT | UART_RX_INTERRUPT;
    }
    *NVIC_ENABLE = 0x3Fu | 1u << 18 | 1u << 19;
}

int uart_read(enum line line)
{
    struct ring *ring = &received[line];
    int byte = -1;
    interrupts_off();
    if (used(ring)) {
        byte = ring->bytes[ring->out++ % RING];
        uarts[line]->control |= UART_RX_INTERRUPT;
        take(line);
    }
    interrupts_on();
    return byte;
}

bool uart_send(enum line line, const void *bytes, size_t length)
{
    struct ring *ring = &to_send[line];
    const uint8_t *at = bytes;
    interrupts_off();
    bool fits = length <= RING - used(ring);
    if (fits) {
        while (length--)
            ring->bytes[ring->in++ % RING] = *at++;
        give(line);
    }
    interrupts_on();
    return fits;
}

bool uart_print(enum line line, const char *string)
{
    return uart_send(line, string, strlen(string));
}

bool uart_waiting(void)
{
    for (unsigned line = 0; line < LINE_COUNT; line++)
        if (used(&received[line]))
            return true;
    return false;
}
