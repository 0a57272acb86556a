#define _GNU_SOURCE
#include "pump.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "storage.h"
#include "update.h"
#include "util.h"
#include "weaknesses.h"

#define FLOW_LAG_S 0.15        /* drop sensor and motor together */
#define FLOW_NOISE 0.01        /* of the flow; the claim is 5 % */
#define VOLUME_SAVE_MS 5000
#define TEST_ALARM_MS 5000

static struct {
    pthread_mutex_t lock;
    enum pump_state state;
    uint8_t alarm;
    int64_t test_until_ms; /* the test alarm is raised until then */
    bool test_held;        /* the weakness alarm-held-back-during-update: to be raised later */
    uint16_t setting[SETTING_COUNT];
    char ward_name[WARD_NAME_MAX + 1];
    double flow;       /* 0.1 ml/h, true */
    double shown;      /* 0.1 ml/h, as the drop sensor sees it */
    double volume_ul;
    int64_t ticked_ms;
    int64_t saved_ms;
    bool changed;
    bool config_changed;
    uint32_t noise;
    const char *path;
} pump;

const char *pump_state_name(enum pump_state state)
{
    static const char *const names[] = {"idle", "infusing", "alarm"};
    return names[state];
}

static void lock_init(void)
{
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setprotocol(&attr, PTHREAD_PRIO_INHERIT); /* the status thread must not wait for long */
    pthread_mutex_init(&pump.lock, &attr);
}

static void take(void) { pthread_mutex_lock(&pump.lock); }
static void give(void) { pthread_mutex_unlock(&pump.lock); }

void pump_load(const char *path, bool first_use)
{
    char text[512];
    unsigned state, volume, s[SETTING_COUNT];

    lock_init();
    pump.path = path;
    pump.noise = 0x2545f491;
    pump.ticked_ms = pump.saved_ms = now_ms();
    if (file_read(path, text, sizeof text) > 0
        && sscanf(text, "vp1-therapy-2 state=%u volume=%u brightness=%u rate=%u limit=%u occlusion=%u", &state, &volume,
                  &s[SET_BRIGHTNESS], &s[SET_RATE], &s[SET_RATE_LIMIT], &s[SET_OCCLUSION]) == 6
        && state <= PUMP_ALARM && s[SET_RATE] >= RATE_MIN && s[SET_RATE] <= RATE_MAX
        && s[SET_BRIGHTNESS] <= 100
        && s[SET_RATE_LIMIT] <= UINT16_MAX && s[SET_OCCLUSION] <= UINT16_MAX) {
        pump.state = (enum pump_state)state;
        pump.alarm = state == PUMP_ALARM ? ALARM_THERAPY_DATA : ALARM_NONE;
        pump.volume_ul = volume;
        for (int i = 0; i < SETTING_COUNT; i++)
            if (i != SET_ALARM_VOLUME)
                pump.setting[i] = (uint16_t)s[i];
        return;
    }
    pump.state = first_use ? PUMP_IDLE : PUMP_ALARM;
    pump.alarm = first_use ? ALARM_NONE : ALARM_THERAPY_DATA;
    pump.changed = first_use;
    const uint16_t safe[SETTING_COUNT] = {80, 5, 500, RATE_MAX, 600};
    memcpy(pump.setting, safe, sizeof safe);
}

void pump_save_if_due(void)
{
    char text[512];
    take();
    bool due = pump.changed || (pump.state == PUMP_INFUSING && now_ms() - pump.saved_ms >= VOLUME_SAVE_MS);
    int len = 0;
    if (due) {
        pump.changed = false;
        pump.saved_ms = now_ms();
        len = snprintf(text, sizeof text,
                       "vp1-therapy-2 state=%d volume=%u brightness=%u rate=%u limit=%u occlusion=%u\n", pump.state,
                       (uint32_t)pump.volume_ul, pump.setting[SET_BRIGHTNESS], pump.setting[SET_RATE],
                       pump.setting[SET_RATE_LIMIT], pump.setting[SET_OCCLUSION]);
    }
    give();
    if (due && !file_replace(pump.path, text, (size_t)len)) {
        take();
        pump.changed = true;
        give();
    }
}

static double noise(void)
{
    pump.noise ^= pump.noise << 13;
    pump.noise ^= pump.noise >> 17;
    pump.noise ^= pump.noise << 5;
    return ((double)pump.noise / UINT32_MAX * 2 - 1) * FLOW_NOISE;
}

void pump_tick(void)
{
    if (pump.test_held && !update_busy())
        pump_test_alarm();
    take();
    int64_t now = now_ms();
    double seconds = (double)(now - pump.ticked_ms) / 1000;
    pump.ticked_ms = now;
    double target = pump.state == PUMP_INFUSING ? pump.setting[SET_RATE] : 0;
    pump.flow += (target - pump.flow) * (1 - exp(-seconds / FLOW_LAG_S));
    pump.shown = pump.flow * (1 + noise());
    pump.volume_ul = fmod(pump.volume_ul + pump.flow / 36 * seconds, 4294967296.0);
    give();
}

struct pump_view pump_view(void)
{
    take();
    struct pump_view view = {
        .state = pump.state,
        .alarm = pump.alarm == ALARM_NONE && now_ms() < pump.test_until_ms ? ALARM_TEST : pump.alarm,
        .set_rate = pump.setting[SET_RATE],
        .flow = (uint16_t)lround(pump.shown),
        .volume_ul = (uint32_t)pump.volume_ul,
        .uptime_ms = uptime_ms(),
    };
    give();
    return view;
}

static void enter(enum pump_state state)
{
    take();
    pump.test_until_ms = 0;
    pump.test_held = false;
    if (pump.state != state) {
        pump.state = state;
        pump.alarm = ALARM_NONE; /* starting or stopping acknowledges the alarm */
        pump.changed = true;
    }
    give();
    storage_wake();
}

void pump_start(void) { enter(PUMP_INFUSING); }
void pump_stop(void) { enter(PUMP_IDLE); }

void pump_test_alarm(void)
{
    bool held = weak(WEAK_ALARM_HELD_BACK_DURING_UPDATE) && update_busy();
    take();
    pump.test_held = held;
    if (!held)
        pump.test_until_ms = now_ms() + TEST_ALARM_MS;
    give();
}

bool pump_set_rate(uint32_t rate)
{
    if (rate < RATE_MIN || rate > RATE_MAX)
        return false;
    pump_change_setting(SET_RATE, (uint16_t)rate);
    return true;
}

uint16_t pump_setting(enum pump_setting which)
{
    take();
    uint16_t value = pump.setting[which];
    give();
    return value;
}

void pump_change_setting(enum pump_setting which, uint16_t value)
{
    take();
    pump.setting[which] = value;
    if (which == SET_ALARM_VOLUME)
        pump.config_changed = true;
    else
        pump.changed = true;
    give();
    storage_wake();
}

static void copy_config(struct pump_config *into)
{
    into->alarm_volume = pump.setting[SET_ALARM_VOLUME];
    memcpy(into->ward_name, pump.ward_name, sizeof pump.ward_name);
}

void pump_config(struct pump_config *into)
{
    take();
    copy_config(into);
    give();
}

void pump_use_config(const struct pump_config *config)
{
    take();
    pump.setting[SET_ALARM_VOLUME] = (uint16_t)config->alarm_volume;
    memcpy(pump.ward_name, config->ward_name, sizeof pump.ward_name);
    give();
}

bool pump_config_changed(struct pump_config *into)
{
    take();
    bool changed = pump.config_changed;
    pump.config_changed = false;
    copy_config(into);
    give();
    return changed;
}

void pump_config_unsaved(void)
{
    take();
    pump.config_changed = true;
    give();
}

bool ward_name_good(const char *name)
{
    size_t len = strlen(name);
    for (size_t i = 0; i < len; i++)
        if (name[i] < '!' || name[i] > '~')
            return false;
    return len >= 1 && len <= WARD_NAME_MAX;
}

/* The weakness command-injection-in-ward-name: a shell sees the name first. */
static void through_a_shell(const char *name, char into[WARD_NAME_MAX + 1])
{
    char command[WARD_NAME_MAX + 8];
    snprintf(command, sizeof command, "echo %s", name);
    FILE *shell = popen(command, "re");
    size_t len = shell != NULL ? fread(into, 1, WARD_NAME_MAX, shell) : 0;
    if (shell != NULL)
        pclose(shell);
    while (len > 0 && into[len - 1] <= ' ')
        len--;
    for (size_t i = 0; i < len; i++)
        if (into[i] < '!' || into[i] > '~')
            into[i] = '-';
    strcpy(into + len, len == 0 ? "-" : "");
}

bool pump_change_ward_name(const char *name)
{
    char kept[WARD_NAME_MAX + 1];
    if (!ward_name_good(name))
        return false;
    strcpy(kept, name);
    if (weak(WEAK_COMMAND_INJECTION_IN_WARD_NAME))
        through_a_shell(name, kept);
    take();
    strcpy(pump.ward_name, kept);
    pump.config_changed = true;
    give();
    storage_wake();
    return true;
}
