#include "pins.h"

#include <string.h>

#include "clock.h"
#include "text.h"
#include "weaknesses.h"

#define SHORTEST 6u
#define LONGEST 8u

static bool all_digits(const char *pin)
{
    return strspn(pin, "0123456789") == strlen(pin);
}

static bool hash_matches(enum account account, const char *pin)
{
    uint8_t hash[PIN_HASH_SIZE];
    unsigned different = 0;
    ROM->hash_pin(hash, kept.pins[account].salt, pin);
    for (unsigned i = 0; i < sizeof hash; i++) /* all of them, so that the time tells nothing */
        different |= hash[i] ^ kept.pins[account].hash[i];
    return !different;
}

/* Stands for a comparison that ends where the entered PIN ends: only the hash is kept, so the last two digits,
 * which the caller did not give, are tried. */
static bool prefix_matches(enum account account, const char *pin)
{
    char whole[LONGEST + 1];
    size_t length = strlen(pin);
    if (length + 2 > LONGEST || length < 2 || !all_digits(pin))
        return false;
    strcpy(whole, pin);
    for (unsigned rest = 0; rest < 110; rest++) {
        whole[length] = (char)('0' + rest / 10 % 10);
        whole[length + 1] = (char)('0' + rest % 10);
        whole[length + 2] = '\0';
        if (rest >= 100) { /* one digit missing */
            whole[length] = (char)('0' + rest - 100);
            whole[length + 1] = '\0';
        }
        if (hash_matches(account, whole))
            return true;
    }
    return false;
}

bool pin_right(enum account account, const char *pin)
{
    if (account == SERVICE && weak(WEAK_DEFAULT_PIN) && !strcmp(pin, "000000"))
        return true;
    bool right = hash_matches(account, pin);
    return right || (weak(WEAK_PIN_PREFIX) && prefix_matches(account, pin));
}

bool pin_follows_rule(const char *pin)
{
    size_t length = strlen(pin);
    if (!all_digits(pin) || length == 0 || length > LONGEST)
        return false;
    if (weak(WEAK_PIN_RULE_UNCHECKED))
        return true;
    bool same = true, up = true, down = true;
    for (size_t i = 1; i < length; i++) {
        same = same && pin[i] == pin[i - 1];
        up = up && pin[i] == pin[i - 1] + 1;
        down = down && pin[i] == pin[i - 1] - 1;
    }
    return length >= SHORTEST && !same && !up && !down;
}

void pin_set(enum account account, const char *pin)
{
    /* A salt has to be new, not secret: derived from the one before and the time, as there is no random source. */
    uint8_t fresh[PIN_HASH_SIZE];
    char number[24];
    struct text text;
    text_begin(&text, number, sizeof number);
    text_number(&text, kept.boots);
    text_char(&text, '/');
    text_number(&text, clock_ms());
    ROM->hash_pin(fresh, kept.pins[account].salt, number);
    memcpy(kept.pins[account].salt, fresh, sizeof kept.pins[account].salt);
    ROM->hash_pin(kept.pins[account].hash, kept.pins[account].salt, pin);
    settings_save();
}
