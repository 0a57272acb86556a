/* The Modbus data model: function codes, registers, exceptions. Framing is in modbus_tcp.c and modbus_rtu.c. */
#include "modbus.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "audit.h"
#include "counters.h"
#include "pump.h"
#include "util.h"
#include "weaknesses.h"

#define READ_MAX 125
#define WRITE_MAX 123
#define INPUT_COUNT 18
#define SERIAL_REGISTERS 5
#define MODEL_REGISTERS 2

enum function { READ_HOLDING = 3, READ_INPUT = 4, WRITE_ONE = 6, WRITE_MANY = 16 };
enum exception { NONE = 0, ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE };

static const struct {
    uint16_t least, most;
    bool is_protected;
    const char *address; /* for the audit log */
} holding[SETTING_COUNT] = {
    [SET_BRIGHTNESS] = {0, 100, false, "0"},
    [SET_ALARM_VOLUME] = {1, 10, false, "1"},
    [SET_RATE] = {RATE_MIN, RATE_MAX, true, "2"},
    [SET_RATE_LIMIT] = {0, UINT16_MAX, true, "3"},
    [SET_OCCLUSION] = {0, UINT16_MAX, true, "4"},
};

static void put_text(uint8_t *at, const char *text, size_t registers)
{
    size_t len = strlen(text);
    memset(at, 0, registers * 2);
    memcpy(at, text, len < registers * 2 ? len : registers * 2);
}

static void input_registers(uint8_t at[INPUT_COUNT * 2])
{
    struct pump_view v = pump_view();
    put_u16(at, (uint16_t)v.state);
    put_u16(at + 2, weak(WEAK_ALARM_MISSING_ON_MODBUS) ? ALARM_NONE : v.alarm);
    put_u16(at + 4, v.set_rate);
    put_u16(at + 6, v.flow);
    put_u32(at + 8, v.volume_ul);
    put_u32(at + 12, v.uptime_ms);
    put_u16(at + 16, PUMP_VERSION_MAJOR);
    put_u16(at + 18, weak(WEAK_VERSION_STAYS_OLD) ? 0 : PUMP_VERSION_MINOR);
    put_u16(at + 20, PUMP_VERSION_PATCH);
    put_text(at + 22, PUMP_SERIAL, SERIAL_REGISTERS);
    put_text(at + 32, PUMP_MODEL, MODEL_REGISTERS);
}

static enum exception read_registers(const uint8_t *request, size_t len, uint8_t *answer, size_t *answer_len)
{
    uint8_t map[INPUT_COUNT * 2];
    size_t count = SETTING_COUNT;
    if (len != 5)
        return ILLEGAL_VALUE;
    uint16_t address = get_u16(request + 1), quantity = get_u16(request + 3);
    if (quantity < 1 || quantity > READ_MAX)
        return ILLEGAL_VALUE;
    if (request[0] == READ_INPUT) {
        count = INPUT_COUNT;
        input_registers(map);
    } else {
        for (int i = 0; i < SETTING_COUNT; i++)
            put_u16(map + 2 * i, pump_setting((enum pump_setting)i));
    }
    if ((size_t)address + quantity > count)
        return ILLEGAL_ADDRESS;
    answer[1] = (uint8_t)(quantity * 2);
    memcpy(answer + 2, map + 2 * address, (size_t)quantity * 2);
    *answer_len = 2 + (size_t)quantity * 2;
    return NONE;
}

/* Checks a whole write before anything is changed. */
static enum exception may_write(uint16_t address, uint16_t quantity, const uint8_t *values)
{
    if ((size_t)address + quantity > SETTING_COUNT)
        return ILLEGAL_ADDRESS;
    for (uint16_t i = 0; i < quantity; i++)
        if (holding[address + i].is_protected && !weak(WEAK_MODBUS_PROTECTED_WRITE)) {
            audit_limited("modbus", "write", holding[address + i].address);
            return ILLEGAL_ADDRESS;
        }
    for (uint16_t i = 0; i < quantity; i++) {
        uint16_t value = get_u16(values + 2 * i);
        if (value < holding[address + i].least || value > holding[address + i].most)
            return ILLEGAL_VALUE;
    }
    return NONE;
}

static enum exception write_registers(const uint8_t *request, size_t len, uint8_t *answer, size_t *answer_len)
{
    uint16_t address, quantity = 1;
    const uint8_t *values = request + 3;
    if (len < 5)
        return ILLEGAL_VALUE;
    address = get_u16(request + 1);
    if (request[0] == WRITE_MANY) {
        quantity = get_u16(request + 3);
        values = request + 6;
        if (quantity < 1 || quantity > WRITE_MAX || len != 6 + (size_t)quantity * 2 || request[5] != quantity * 2)
            return ILLEGAL_VALUE;
    } else if (len != 5) {
        return ILLEGAL_VALUE;
    }
    enum exception refused = may_write(address, quantity, values);
    if (refused != NONE)
        return refused;
    for (uint16_t i = 0; i < quantity; i++)
        pump_change_setting((enum pump_setting)(address + i), get_u16(values + 2 * i));
    memcpy(answer + 1, request + 1, 4);
    *answer_len = 5;
    return NONE;
}

size_t modbus_respond(const uint8_t *request, size_t len, uint8_t answer[MODBUS_PDU_MAX])
{
    enum exception exception = ILLEGAL_FUNCTION;
    size_t answer_len = 0;

    count(COUNT_MODBUS);
    answer[0] = request[0];
    if (request[0] == READ_HOLDING || request[0] == READ_INPUT)
        exception = read_registers(request, len, answer, &answer_len);
    else if (request[0] == WRITE_ONE || request[0] == WRITE_MANY)
        exception = write_registers(request, len, answer, &answer_len);
    if (exception == NONE)
        return answer_len;
    answer[0] = request[0] | 0x80;
    answer[1] = (uint8_t)exception;
    return 2;
}

void modbus_start(const char *serial_line)
{
    modbus_tcp_start();
    modbus_rtu_start(serial_line);
}
