/* Therapy: what the pump delivers, its settings, and their keeping over a power cut. */
#ifndef VP1_PUMP_H
#define VP1_PUMP_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "version.h"

#define PUMP_MODEL "VP-1"
#define PUMP_SERIAL "VP1-000417"
#define PUMP_VERSION version_text()
#define PUMP_VERSION_MAJOR version_major()
#define PUMP_VERSION_MINOR version_minor()
#define PUMP_VERSION_PATCH version_patch()

#define RATE_MIN 1      /* 0.1 ml/h */
#define RATE_MAX 12000  /* 0.1 ml/h */
#define WARD_NAME_MAX 24
#define ALARM_VOLUME_MIN 1
#define ALARM_VOLUME_MAX 10

enum pump_state { PUMP_IDLE = 0, PUMP_INFUSING = 1, PUMP_ALARM = 2 };
enum pump_alarm { ALARM_NONE = 0, ALARM_THERAPY_DATA = 1, ALARM_TEST = 9 };

struct pump_view {
    enum pump_state state;
    uint8_t alarm;
    uint16_t set_rate;   /* 0.1 ml/h */
    uint16_t flow;       /* 0.1 ml/h, drop sensor */
    uint32_t volume_ul;
    uint32_t uptime_ms;
};

/* Settings that Modbus calls holding registers. */
enum pump_setting { SET_BRIGHTNESS, SET_ALARM_VOLUME, SET_RATE, SET_RATE_LIMIT, SET_OCCLUSION, SETTING_COUNT };

/* What the administrator sets (the other settings are kept with the therapy). */
struct pump_config {
    int alarm_volume;
    char ward_name[WARD_NAME_MAX + 1];
};

/*
 * Loads the therapy from the data partition; a damaged or missing file means alarm, not a guess. In `first_use`
 * there is none yet: idle.
 */
void pump_load(const char *path, bool first_use);

/* Writes therapy and settings if they changed since (called by the storage thread). */
void pump_save_if_due(void);

/* One step of pump mechanics and drop sensor; called by the status thread. */
void pump_tick(void);

struct pump_view pump_view(void);
void pump_start(void);
void pump_stop(void);
bool pump_set_rate(uint32_t rate);  /* 0.1 ml/h; false if out of range */
void pump_test_alarm(void);         /* raises ALARM_TEST, for five seconds or until started or stopped; therapy goes on */

uint16_t pump_setting(enum pump_setting which);
void pump_change_setting(enum pump_setting which, uint16_t value);

void pump_config(struct pump_config *into);
void pump_use_config(const struct pump_config *config); /* as the store has it, or is to have it */
bool pump_config_changed(struct pump_config *into);     /* since the last call; for the store */
void pump_config_unsaved(void);                         /* the store could not be written */

/* 1 to 24 printable ASCII characters without space. */
bool ward_name_good(const char *name);
bool pump_change_ward_name(const char *name); /* false if it is not good */

const char *pump_state_name(enum pump_state state);
#endif
