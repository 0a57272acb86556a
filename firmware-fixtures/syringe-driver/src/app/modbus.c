#include "modbus.h"

#include <stdbool.h>
#include <string.h>

#include "audit.h"
#include "clock.h"
#include "drive.h"
#include "modbus_identity.h"
#include "rom.h"
#include "session.h"
#include "version.h"
#include "weaknesses.h"

enum exception { NO_EXCEPTION, ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE };
#define PROTECTED_BASE 16u /* holding registers from here on are protected */

static uint16_t word_at(const uint8_t *bytes)
{
    return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

static uint16_t letters(const char *text, unsigned place)
{
    return (uint16_t)(text[2 * place] << 8 | text[2 * place + 1]);
}

/* INTERFACES.md 3.2. The gaps are no registers. */
static bool input_register(unsigned address, uint16_t *value)
{
    const struct drive *drive = drive_now();
    uint32_t now = clock_ms();
    switch (address) {
    case 0: *value = (uint16_t)(now >> 16); return true;
    case 1: *value = (uint16_t)now; return true;
    case 2: *value = (uint16_t)drive->state; return true;
    case 3: *value = (uint16_t)drive->alarm; return true;
    case 4: *value = (uint16_t)drive->rate; return true;
    case 5: *value = (uint16_t)drive->flow; return true;
    case 6: *value = (uint16_t)(drive->volume >> 16); return true;
    case 7: *value = (uint16_t)drive->volume; return true;
    case 8: *value = (uint16_t)drive->sequence; return true;
    case 16: *value = RUNNING->major; return true;
    case 17: *value = RUNNING->minor; return true;
    case 18: *value = (uint16_t)(RUNNING->patch + (weak(WEAK_VERSION_DIFFERS) ? 1 : 0)); return true;
    case 20: case 21: case 22: case 23: case 24: *value = letters(ROM->serial, address - 20); return true;
    case 28: case 29: case 30: *value = letters(IMAGE_MODEL, address - 28); return true;
    default: return false;
    }
}

static const struct {
    uint16_t address;
    enum setting setting;
} holdings[] = {
    {0, SETTING_BRIGHTNESS},
    {1, SETTING_ALARM_VOLUME},
    {PROTECTED_BASE, SETTING_OCCLUSION_LIMIT},
    {PROTECTED_BASE + 1, SETTING_HIGHEST_RATE},
    {PROTECTED_BASE + 2, SETTING_SYRINGE_SIZE},
};

static bool holding(unsigned address, enum setting *setting)
{
    for (unsigned i = 0; i < sizeof holdings / sizeof *holdings; i++)
        if (holdings[i].address == address) {
            *setting = holdings[i].setting;
            return true;
        }
    return false;
}

static bool holding_register(unsigned address, uint16_t *value)
{
    enum setting setting;
    if (!holding(address, &setting))
        return false;
    *value = kept.values[setting];
    return true;
}

static size_t refuse(uint8_t function, enum exception why, uint8_t *answer)
{
    answer[0] = function | 0x80;
    answer[1] = (uint8_t)why;
    return 2;
}

static size_t read_registers(const uint8_t *request, size_t length, uint8_t *answer)
{
    if (length != 5)
        return refuse(request[0], ILLEGAL_VALUE, answer);
    unsigned first = word_at(request + 1), count = word_at(request + 3);
    if (count < 1 || count > 125)
        return refuse(request[0], ILLEGAL_VALUE, answer);
    for (unsigned i = 0; i < count; i++) {
        uint16_t value = 0;
        if (request[0] == 4 ? !input_register(first + i, &value) : !holding_register(first + i, &value))
            return refuse(request[0], ILLEGAL_ADDRESS, answer);
        answer[2 + 2 * i] = (uint8_t)(value >> 8);
        answer[3 + 2 * i] = (uint8_t)value;
    }
    answer[0] = request[0];
    answer[1] = (uint8_t)(2 * count);
    return 2 + 2 * count;
}

static void register_name(struct text *text, char *buffer, size_t size, unsigned address)
{
    text_begin(text, buffer, size);
    text_number(text, address);
}

/* All or nothing: addresses and protection first, then values, then the change. */
static enum exception write_values(unsigned first, unsigned count, const uint8_t *values)
{
    enum setting setting;
    char name[8];
    struct text text;
    for (unsigned i = 0; i < count; i++) {
        if (!holding(first + i, &setting))
            return ILLEGAL_ADDRESS;
        if (first + i >= PROTECTED_BASE && session_user() != SERVICE && !weak(WEAK_MODBUS_PROTECTED_WRITE)) {
            register_name(&text, name, sizeof name, first + i);
            audit_refusal(SURFACE_MODBUS, session_user(), "write", REFUSED, name);
            return ILLEGAL_ADDRESS;
        }
    }
    for (unsigned i = 0; i < count; i++) {
        uint16_t value = word_at(values + 2 * i);
        holding(first + i, &setting);
        if (value < setting_rules[setting].lowest || value > setting_rules[setting].highest)
            return ILLEGAL_VALUE;
    }
    for (unsigned i = 0; i < count; i++) {
        holding(first + i, &setting);
        kept.values[setting] = word_at(values + 2 * i);
        if (first + i >= PROTECTED_BASE) {
            register_name(&text, name, sizeof name, first + i);
            audit(SURFACE_MODBUS, session_user(), "write", ACCEPTED, name);
        }
    }
    settings_save();
    return NO_EXCEPTION;
}

static size_t write_registers(const uint8_t *request, size_t length, uint8_t *answer)
{
    bool one = request[0] == 6;
    unsigned count = one ? 1 : length >= 6 ? word_at(request + 3) : 0;
    bool right = one ? length == 5 : length == 6 + 2 * count && count >= 1 && count <= 123 && request[5] == 2 * count;
    if (!right)
        return refuse(request[0], ILLEGAL_VALUE, answer);
    enum exception why = write_values(word_at(request + 1), count, request + (one ? 3 : 6));
    if (why)
        return refuse(request[0], why, answer);
    memcpy(answer, request, 5);
    return 5;
}

size_t modbus_answer(const uint8_t *request, size_t length, uint8_t *answer)
{
    switch (request[0]) {
    case 3:
    case 4:
        return read_registers(request, length, answer);
    case 6:
    case 16:
        return write_registers(request, length, answer);
    case 0x2B: {
        size_t answered = modbus_identify(request, length, answer);
        /* Another MEI type is an exception 1, a wrong object or code one of 2 or 3 (6.21). */
        return answered ? answered : refuse(request[0], (enum exception)answer[0], answer);
    }
    default:
        return refuse(request[0], ILLEGAL_FUNCTION, answer);
    }
}
