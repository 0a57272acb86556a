/* Therapy: what the pump delivers, its settings, and their keeping over a power cut. */
#ifndef VP1_PUMP_H
#define VP1_PUMP_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PUMP_MODEL "VP-1"
#define PUMP_SERIAL "VP1-000417"
#define PUMP_VERSION "1.0.0"
#define PUMP_VERSION_MAJOR 1
#define PUMP_VERSION_MINOR 0
#define PUMP_VERSION_PATCH 0

#define RATE_MIN 1      /* 0.1 ml/h */
#define RATE_MAX 12000  /* 0.1 ml/h */
#define WARD_NAME_MAX 24

enum pump_state { PUMP_IDLE = 0, PUMP_INFUSING = 1, PUMP_ALARM = 2 };
enum pump_alarm { ALARM_NONE = 0, ALARM_THERAPY_DATA = 1 };

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

/* Loads therapy and settings from the data partition; a damaged file means alarm, not a guess. */
void pump_load(const char *path);

/* Writes therapy and settings if they changed since (called by the storage thread). */
void pump_save_if_due(void);

/* One step of pump mechanics and drop sensor; called by the status thread. */
void pump_tick(void);

struct pump_view pump_view(void);
void pump_start(void);
void pump_stop(void);
bool pump_set_rate(uint32_t rate);  /* 0.1 ml/h; false if out of range */

uint16_t pump_setting(enum pump_setting which);
void pump_change_setting(enum pump_setting which, uint16_t value);
void pump_ward_name(char into[WARD_NAME_MAX + 1]);
void pump_change_ward_name(const char *name);

const char *pump_state_name(enum pump_state state);
#endif
