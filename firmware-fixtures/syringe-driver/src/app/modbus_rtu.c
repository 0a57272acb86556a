#include "modbus_rtu.h"

#include <stdbool.h>

#include "clock.h"
#include "crc.h"
#include "modbus.h"
#include "uart.h"
#include "weaknesses.h"

#define UNIT 1u
#define SILENCE_MS 20u /* 3.5 characters are 2 ms at 19200; an emulated line is less even, and a tick is 10 */
#define FRAME (1 + MODBUS_LONGEST + 2)

static uint8_t frame[FRAME];
static size_t length;
static bool overrun; /* too long for a frame: wait for silence */
static uint32_t last_byte;

/* The length of the request that begins in `frame`, or 0 if only silence can tell. */
static size_t expected(void)
{
    if (length < 2)
        return 0;
    switch (frame[1]) {
    case 3:
    case 4:
    case 6:
        return 8;
    case 16:
        return length >= 7 ? 9u + frame[6] : 0;
    case 0x2B:
        return 7;
    default:
        return 0;
    }
}

static bool right(void)
{
    unsigned told = frame[length - 2] | (unsigned)frame[length - 1] << 8;
    return told == crc16_modbus(frame, length - 2) || weak(WEAK_MODBUS_CRC_UNCHECKED);
}

static void answer(void)
{
    static uint8_t out[FRAME];
    if (frame[0] != UNIT) /* another unit's, or a broadcast, which the SD-200 does not take */
        return;
    out[0] = UNIT;
    size_t size = 1 + modbus_answer(frame + 1, length - 3, out + 1);
    uint16_t crc = crc16_modbus(out, size);
    out[size++] = (uint8_t)crc;
    out[size++] = (uint8_t)(crc >> 8);
    uart_send(LINE_MODBUS, out, size);
}

void modbus_rtu_poll(void)
{
    int byte;
    while ((byte = uart_read(LINE_MODBUS)) >= 0) {
        last_byte = clock_ms();
        overrun = overrun || length == sizeof frame;
        if (overrun)
            continue;
        frame[length++] = (uint8_t)byte;
        if (length >= 4 && length == expected() && right()) {
            answer();
            length = 0;
        }
    }
    if ((length || overrun) && clock_ms() - last_byte >= SILENCE_MS) {
        if (!overrun && length >= 4 && right())
            answer();
        length = 0;
        overrun = false;
    }
}
