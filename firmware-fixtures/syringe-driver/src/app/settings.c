#include "settings.h"

#include "debug.h"
#include "eeprom.h"

#define MAGIC 0x54534453u /* "SDST" */

const struct setting_rule setting_rules[SETTING_COUNT] = {
    [SETTING_BRIGHTNESS] = {"brightness", 0, 100},
    [SETTING_ALARM_VOLUME] = {"alarm_volume", 1, 10},
    [SETTING_OCCLUSION_LIMIT] = {"occlusion_limit", 300, 900},
    [SETTING_HIGHEST_RATE] = {"highest_rate", 10, 2000},
    [SETTING_SYRINGE_SIZE] = {"syringe_size", 1, 60},
};

struct kept kept;
static bool readable;

bool settings_load(void)
{
    readable = banks_read(EEPROM_SETTINGS, EEPROM_SETTINGS_BANK, MAGIC, &kept, sizeof kept);
    return readable;
}

void settings_save(void)
{
    /* Over a store that could not be read nothing is written: it may yet be recovered in the workshop. */
    if (!readable || !banks_write(EEPROM_SETTINGS, EEPROM_SETTINGS_BANK, &kept, sizeof kept))
        debug_print("storage: settings not written");
}

bool settings_readable(void)
{
    return readable;
}
