/* The parts of QEMU's mps2-an385 that the SD-200 uses (Arm DAI0385, DDI0479). */
#ifndef SD_BOARD_H
#define SD_BOARD_H
#include <stdint.h>

#define CLOCK_HZ 25000000u

struct uart_registers {
    volatile uint32_t data, state, control, interrupt, divider;
};
enum {
    UART_TX_FULL = 1u << 0,
    UART_RX_FULL = 1u << 1,
    UART_TX_ON = 1u << 0,
    UART_RX_ON = 1u << 1,
    UART_TX_INTERRUPT = 1u << 2,
    UART_RX_INTERRUPT = 1u << 3,
    UART_TX_PENDING = 1u << 0,
    UART_RX_PENDING = 1u << 1,
};
#define UART0 ((struct uart_registers *)0x40004000u)
#define UART1 ((struct uart_registers *)0x40005000u)
#define UART2 ((struct uart_registers *)0x40006000u)
#define UART3 ((struct uart_registers *)0x40007000u)

struct timer_registers {
    volatile uint32_t control, value, reload, interrupt;
};
#define TIMER1 ((struct timer_registers *)0x40001000u)

struct watchdog_registers {
    volatile uint32_t load, value, control, clear;
};
enum { WATCHDOG_INTERRUPT = 1u << 0, WATCHDOG_RESET = 1u << 1 };
#define WATCHDOG ((struct watchdog_registers *)0x40008000u)

/* The I2C lines of shield 1, moved by software; `control` sets lines, `clear` clears them. */
struct i2c_registers {
    volatile uint32_t control, clear;
};
enum { I2C_SCL = 1u << 0, I2C_SDA = 1u << 1 };
#define I2C ((struct i2c_registers *)0x4002A000u)

struct systick_registers {
    volatile uint32_t control, reload, value;
};
#define SYSTICK ((struct systick_registers *)0xE000E010u)
#define NVIC_ENABLE ((volatile uint32_t *)0xE000E100u)
#define SCB_VTOR (*(volatile uint32_t *)0xE000ED08u)
#define SCB_AIRCR (*(volatile uint32_t *)0xE000ED0Cu)
#define AIRCR_RESET 0x05FA0004u

/* Where an image runs. Boot loader and image share this with their linker scripts. */
#define IMAGE_ADDRESS 0x00100000u
/* Memory that no start-up code clears: why the last reset was asked for, and which weaknesses the bench set. */
#define RESET_CAUSE ((volatile uint32_t *)0x203FFE00u)
#define WEAKNESS_WORDS ((volatile const uint32_t *)0x203FFF00u)

static inline void interrupts_off(void) { __asm__ volatile("cpsid i" ::: "memory"); }
static inline void interrupts_on(void) { __asm__ volatile("cpsie i" ::: "memory"); }
static inline void wait_for_interrupt(void) { __asm__ volatile("wfi" ::: "memory"); }
#endif
