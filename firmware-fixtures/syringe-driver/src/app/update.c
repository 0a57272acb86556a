#include "update.h"

#include <string.h>

#include "audit.h"
#include "boot_record.h"
#include "clock.h"
#include "debug.h"
#include "eeprom.h"
#include "fault.h"
#include "rom.h"
#include "session.h"
#include "version.h"
#include "weaknesses.h"

#define STALL_MS 10000u
#define SELF_TEST_MS 2000u
#define PIECE 512u

enum state { IDLE, RECEIVING, WRITING, READY, TRYING, REFUSED_IMAGE, FAILED };

/* Whole in memory first: an image is looked at before a byte of the slot changes. */
static _Alignas(8) uint8_t staging[EEPROM_SLOT_SIZE];
static struct boot_record record;
static enum state state;
static const char *detail = "-";
static uint32_t size, received, written, last_ms;

static void enter(enum state next, const char *why)
{
    static const char *const names[] = {"idle", "receiving", "writing", "ready", "trying", "refused", "failed"};
    char line[48];
    struct text text;
    state = next;
    detail = why;
    last_ms = clock_ms();
    text_begin(&text, line, sizeof line);
    text_put(&text, "update: ");
    text_put(&text, names[state]);
    text_char(&text, ' ');
    text_put(&text, detail);
    debug_print(line);
}

void update_put(struct text *text)
{
    static const char *const names[] = {"idle", "receiving", "writing", "ready", "trying", "refused", "failed"};
    text_put(text, "state=");
    text_put(text, names[state]);
    text_put(text, " detail=");
    text_put(text, detail);
    text_put(text, " slot=");
    text_char(text, (char)('A' + (state == TRYING ? record.trial & 1 : record.active & 1)));
    text_put(text, " received=");
    text_number(text, received);
}

void update_start(void)
{
    boot_record_read(&record);
    if (record.trial != NO_SLOT)
        enter(TRYING, "-");
    else if (record.last_trial == TRIAL_ROLLED_BACK)
        enter(FAILED, "rolled-back");
}

bool update_running(void)
{
    return state == RECEIVING || state == WRITING;
}

const char *update_begin(uint32_t bytes)
{
    if (update_running() || state == TRYING)
        return "not-possible-now";
    if (bytes < sizeof(struct image_header) + SIGNATURE_SIZE || bytes > sizeof staging)
        return "bad-argument";
    if (record.trial != NO_SLOT || record.last_trial == TRIAL_ROLLED_BACK) {
        record.trial = NO_SLOT; /* what was ready is given up */
        record.last_trial = TRIAL_NONE;
        boot_record_write(&record);
    }
    size = bytes;
    received = 0;
    enter(RECEIVING, "-");
    return NULL;
}

const char *update_data(uint32_t offset, const uint8_t *bytes, size_t length)
{
    if (state != RECEIVING)
        return "not-possible-now";
    if (offset != received || length > size - received)
        return "bad-argument";
    memcpy(staging + received, bytes, length);
    received += (uint32_t)length;
    last_ms = clock_ms();
    return NULL;
}

static const char *refuse(const char *why)
{
    enter(REFUSED_IMAGE, why);
    audit_refusal(SURFACE_VENDOR, session_user(), "update", REFUSED, why);
    return "update-refused";
}

const char *update_commit(struct text *answer)
{
    const struct image_header *header = (const struct image_header *)staging;
    if (state != RECEIVING || received != size)
        return "not-possible-now";
    switch (ROM->check_image(staging, size)) {
    case IMAGE_DAMAGED:
        return refuse("damaged");
    case IMAGE_UNSIGNED:
        return refuse("signature");
    case IMAGE_OTHER_MODEL:
        return refuse("model");
    case IMAGE_RIGHT:
        break;
    }
    uint64_t version = image_version(header);
    if ((version <= image_version(RUNNING) || version < record.floor) && !weak(WEAK_UPDATE_DOWNGRADE))
        return refuse("version");
    char name[AUDIT_DETAIL + 1];
    struct text text;
    text_begin(&text, name, sizeof name);
    version_put(&text, header);
    audit(SURFACE_VENDOR, session_user(), "update", ACCEPTED, name);
    text_put(answer, " version=");
    text_put(answer, name);
    written = 0;
    enter(WRITING, "-");
    return NULL;
}

const char *update_abort(void)
{
    if (state != RECEIVING)
        return "not-possible-now";
    enter(IDLE, "-");
    return NULL;
}

static void write_piece(void)
{
    uint8_t back[PIECE];
    unsigned slot = (record.active & 1u) ^ 1u;
    uint32_t length = size - written < PIECE ? size - written : PIECE;
    uint32_t place = slot_address(slot) + written;
    if (!eeprom_write(place, staging + written, length) || !eeprom_read(place, back, length) ||
        memcmp(back, staging + written, length)) {
        enter(FAILED, "storage");
        return;
    }
    written += length;
    if (written < size)
        return;
    record.trial = (uint8_t)slot;
    record.starts_left = TRIAL_STARTS;
    if (boot_record_write(&record))
        enter(READY, "-");
    else
        enter(FAILED, "storage");
}

static void try_out(void)
{
    if (!weak(WEAK_SELF_TEST_SKIPPED)) {
        if (clock_ms() - last_ms < SELF_TEST_MS)
            return;
        if (RUNNING->fault == FAULT_SELF_TEST || !settings_readable())
            die("self-test failed", CAUSE_SELF_TEST);
    }
    if (RUNNING->fault == FAULT_HANG)
        for (;;)
            ; /* what the watchdog is for */
    record.active = record.trial;
    record.trial = NO_SLOT;
    record.last_trial = TRIAL_CONFIRMED;
    if (image_version(RUNNING) > record.floor)
        record.floor = image_version(RUNNING);
    if (boot_record_write(&record))
        enter(IDLE, "confirmed");
    else
        die("self-test failed: storage", CAUSE_SELF_TEST);
}

void update_poll(void)
{
    if (state == WRITING)
        write_piece();
    else if (state == TRYING)
        try_out();
    else if (state == RECEIVING && clock_ms() - last_ms >= STALL_MS)
        enter(FAILED, "transfer");
}
