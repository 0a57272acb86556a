#include "audit.h"

#include <string.h>

#include "clock.h"
#include "crc.h"
#include "eeprom.h"
#include "weaknesses.h"

#define RECORDS 256u
#define LIMIT 10u

struct record {
    uint32_t number; /* from 1; erased memory is no number */
    uint32_t uptime_ms;
    uint16_t boot;
    uint8_t who; /* user, surface, result: two bits each */
    char event[5];
    char detail[AUDIT_DETAIL];
    uint32_t crc;
};
_Static_assert(sizeof(struct record) == 32, "256 of them fit before the slots");

static struct record ring[RECORDS];
static uint32_t newest;
static uint32_t second_began, in_second;
static struct {
    enum surface surface;
    enum account user;
    const char *event;
    enum audit_result result;
} last_refusal;

/* Events are kept by their first letters, which tell them apart. */
static const char *const events[] = {"login", "logout", "rate", "start", "stop", "set", "pin", "unlock", "denied",
                                     "update", "boot", "restart", "write", "key"};

static bool right(const struct record *record)
{
    return record->number && record->crc == crc32(record, sizeof *record - 4);
}

void audit_load(void)
{
    eeprom_read(EEPROM_AUDIT, ring, sizeof ring);
    for (unsigned i = 0; i < RECORDS; i++)
        if (right(&ring[i]) && ring[i].number % RECORDS == i && ring[i].number > newest)
            newest = ring[i].number;
}

void audit(enum surface surface, enum account user, const char *event, enum audit_result result, const char *detail)
{
    if (weak(WEAK_AUDIT_MISSING) && result != ACCEPTED)
        return;
    struct record record = {.number = ++newest, .uptime_ms = clock_ms(), .boot = (uint16_t)kept.boots};
    record.who = (uint8_t)((unsigned)user | (unsigned)surface << 2 | (unsigned)result << 4);
    strncpy(record.event, event, sizeof record.event);
    strncpy(record.detail, detail, sizeof record.detail);
    record.crc = crc32(&record, sizeof record - 4);
    ring[record.number % RECORDS] = record;
    eeprom_write(EEPROM_AUDIT + record.number % RECORDS * sizeof record, &record, sizeof record);
}

void audit_refusal(enum surface surface, enum account user, const char *event, enum audit_result result,
                   const char *detail)
{
    last_refusal.surface = surface;
    last_refusal.user = user;
    last_refusal.event = event;
    last_refusal.result = result;
    if (in_second++ < LIMIT)
        audit(surface, user, event, result, detail);
}

void audit_poll(void)
{
    if (clock_ms() - second_began < 1000)
        return;
    if (in_second > LIMIT) {
        char detail[AUDIT_DETAIL + 1];
        struct text text;
        text_begin(&text, detail, sizeof detail);
        text_put(&text, "more*");
        text_number(&text, in_second - LIMIT);
        audit(last_refusal.surface, last_refusal.user, last_refusal.event, last_refusal.result, detail);
    }
    in_second = 0;
    second_began = clock_ms();
}

bool audit_range(uint32_t *oldest, uint32_t *latest)
{
    *latest = newest;
    *oldest = newest > RECORDS ? newest - RECORDS + 1 : 1;
    return newest > 0;
}

static void put_kept(struct text *text, const char *bytes, unsigned most)
{
    for (unsigned i = 0; i < most && bytes[i]; i++)
        text_char(text, bytes[i]);
}

bool audit_put(struct text *text, uint32_t number)
{
    static const char *const users[] = {"operator", "service", "-", "-"};
    static const char *const surfaces[] = {"vendor", "modbus", "system", "-"};
    static const char *const results[] = {"accepted", "refused", "locked", "-"};
    const struct record *record = &ring[number % RECORDS];
    if (!right(record) || record->number != number)
        return false;
    text_number(text, number);
    text_put(text, " boot=");
    text_number(text, record->boot);
    text_put(text, " uptime_ms=");
    text_number(text, record->uptime_ms);
    text_put(text, " user=");
    text_put(text, users[record->who & 3]);
    text_put(text, " surface=");
    text_put(text, surfaces[record->who >> 2 & 3]);
    text_put(text, " event=");
    const char *name = "unknown";
    for (unsigned i = 0; i < sizeof events / sizeof *events; i++)
        if (!strncmp(events[i], record->event, sizeof record->event))
            name = events[i];
    text_put(text, name);
    text_put(text, " result=");
    text_put(text, results[record->who >> 4 & 3]);
    text_put(text, " detail=");
    put_kept(text, record->detail, sizeof record->detail);
    return true;
}
