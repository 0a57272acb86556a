/* The boot loader: chooses a slot, believes only a signed image, lends a new version some starts. */
#include <string.h>

#include "board.h"
#include "boot.h"
#include "boot_record.h"
#include "eeprom.h"
#include "fault.h"
#include "image.h"
#include "text.h"
#include "weaknesses.h"

#define WATCHDOG_S 2u /* until an NMI, and as long again until the hardware's reset */
#define RAM_BEGIN 0x20000000u
#define RAM_END 0x20400000u

/* The image lies so that its payload, the vector table first, begins at IMAGE_ADDRESS. */
static struct image_header *const header = (struct image_header *)(IMAGE_ADDRESS - sizeof(struct image_header));

static void say(const char *what, unsigned slot, const char *how)
{
    char line[80];
    struct text text;
    text_begin(&text, line, sizeof line);
    text_put(&text, "boot: slot ");
    text_char(&text, (char)('A' + slot));
    text_char(&text, ' ');
    text_put(&text, what);
    text_put(&text, how);
    text_put(&text, "\r\n");
    console_write_now(line);
}

/* With a vector table that leads nowhere the processor would lock up, beyond the reach of the watchdog's NMI. */
static bool starts_somewhere(void)
{
    const uint32_t *vectors = (const uint32_t *)IMAGE_ADDRESS;
    bool right = vectors[0] > RAM_BEGIN && vectors[0] <= RAM_END && vectors[0] % 8 == 0;
    for (unsigned i = 1; i <= 3; i++)
        right = right && vectors[i] % 2 && vectors[i] - IMAGE_ADDRESS < header->payload_size;
    return right;
}

static bool load(unsigned slot, const struct boot_record *record)
{
    static const char *const verdicts[] = {"", "damaged", "for another model", "not signed by the maker"};
    uint32_t from = slot_address(slot);
    if (!eeprom_read(from, header, sizeof *header) || header->magic != IMAGE_MAGIC ||
        header->payload_size > EEPROM_SLOT_SIZE - sizeof *header - SIGNATURE_SIZE) {
        say("holds no image", slot, "");
        return false;
    }
    uint32_t size = image_size(header);
    if (!eeprom_read(from + sizeof *header, header + 1, size - sizeof *header)) {
        say("cannot be read", slot, "");
        return false;
    }
    enum image_verdict verdict = rom_services.check_image(header, size);
    if (verdict != IMAGE_RIGHT) {
        say("refused: ", slot, verdicts[verdict]);
        return false;
    }
    if (image_version(header) < record->floor && !weak(WEAK_UPDATE_DOWNGRADE)) {
        say("refused: ", slot, "below the lowest version allowed");
        return false;
    }
    if (!starts_somewhere()) {
        say("refused: ", slot, "has no vector table");
        return false;
    }
    return true;
}

/* True when the slot on trial has a start left, which is used up. */
static bool take_trial_start(struct boot_record *record)
{
    if (record->trial == NO_SLOT)
        return false;
    bool left = record->starts_left > 0;
    if (left) {
        record->starts_left--;
    } else {
        say("did not confirm itself", record->trial, ": back to the slot before");
        record->trial = NO_SLOT;
        record->last_trial = TRIAL_ROLLED_BACK;
    }
    boot_record_write(record);
    return left;
}

static _Noreturn void run_image(void)
{
    const uint32_t *vectors = (const uint32_t *)IMAGE_ADDRESS;
    WATCHDOG->load = WATCHDOG_S * CLOCK_HZ;
    WATCHDOG->control = WATCHDOG_INTERRUPT | WATCHDOG_RESET;
    SCB_VTOR = IMAGE_ADDRESS;
    __asm__ volatile("msr msp, %0\n bx %1" ::"r"(vectors[0]), "r"(vectors[1]));
    __builtin_unreachable();
}

_Noreturn void boot_main(void)
{
    struct boot_record record;
    console_write_now("\r\nSD-200 boot loader\r\n");
    boot_record_read(&record);
    unsigned active = record.active & 1u;
    while (take_trial_start(&record)) {
        if (load(record.trial & 1u, &record)) {
            say("on trial", record.trial & 1u, "");
            run_image();
        }
        record.starts_left = 0;
    }
    /* The other slot may hold the version before: signed, and not below the floor. */
    if (load(active, &record) || load(active ^ 1u, &record))
        run_image();
    console_write_now("FATAL: no slot holds an image to start\r\n");
    for (;;)
        wait_for_interrupt();
}
