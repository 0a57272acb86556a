#include "fault.h"

#include "board.h"
#include "text.h"

void console_write_now(const char *string)
{
    UART2->divider = 217; /* 25 MHz / 115200 */
    UART2->control |= UART_TX_ON;
    while (*string) {
        /* An emulated line may have a reader that does not read: the device dies without a word then. */
        for (unsigned tries = 0; UART2->state & UART_TX_FULL && tries < 100000; tries++)
            ;
        UART2->data = (uint8_t)*string++;
    }
}

_Noreturn void die(const char *why, enum reset_cause cause)
{
    interrupts_off();
    console_write_now("\r\nFATAL: ");
    console_write_now(why);
    console_write_now("\r\n");
    reset_device(cause);
}

__attribute__((used)) static void fault_report(const uint32_t *frame)
{
    char buffer[64];
    struct text text;
    text_begin(&text, buffer, sizeof buffer);
    text_put(&text, "HardFault");
    /* A stack pointer that went astray has no frame to read; reading it would lock the processor up. */
    if ((uint32_t)frame >= 0x20000000u && (uint32_t)frame < 0x20400000u - 32) {
        text_put(&text, " pc=");
        text_hex(&text, frame[6], 8);
        text_put(&text, " lr=");
        text_hex(&text, frame[5], 8);
    }
    die(buffer, CAUSE_FAULT);
}

__attribute__((naked)) void fault_handler(void)
{
    __asm__ volatile("mrs r0, msp\n"
                     "ldr r1, =__stack_top\n"
                     "msr msp, r1\n"
                     "b fault_report\n");
}
