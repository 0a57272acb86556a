/* The syringe drive: set rate, simulated flow, volume, alarms. */
#ifndef SD_DRIVE_H
#define SD_DRIVE_H
#include <stdbool.h>
#include <stdint.h>

#include "text.h"

enum drive_state { DRIVE_IDLE, DRIVE_INFUSING, DRIVE_ALARM };
enum drive_alarm { ALARM_NONE, ALARM_STORAGE, ALARM_SYRINGE_EMPTY };

struct drive {
    enum drive_state state;
    enum drive_alarm alarm;
    uint32_t rate; /* 0.1 ml/h */
    uint32_t flow; /* 0.1 ml/h, as measured */
    uint32_t volume; /* µl since power-on */
    uint32_t sequence; /* rises with each measurement, ten a second */
};

/* Resumes the therapy that was kept; without one it raises an alarm and does not guess. */
void drive_begin(bool kept_is_valid);
void drive_run(bool run);
void drive_set_rate(uint32_t rate);
/* True when a new measurement was made. */
bool drive_poll(void);
const struct drive *drive_now(void);
void drive_put(struct text *text);
#endif
