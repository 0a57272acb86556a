#include "drive.h"

#include "clock.h"
#include "settings.h"
#include "update.h"
#include "weaknesses.h"

#define MEASURE_MS 100u

static struct drive drive;
static uint32_t measured_at, flow_ul_h, volume_nl_rest, noise = 1;

void drive_begin(bool kept_is_valid)
{
    drive.rate = kept.rate;
    measured_at = clock_ms();
    drive.state = kept.running ? DRIVE_INFUSING : DRIVE_IDLE;
    if (!kept_is_valid) {
        drive.state = DRIVE_ALARM;
        drive.alarm = ALARM_STORAGE;
    }
    /* Flow is there at once: a restart in mid-therapy does not empty the line. */
    flow_ul_h = drive.state == DRIVE_INFUSING ? drive.rate * 100 : 0;
    drive.flow = flow_ul_h / 100;
}

static void change_state(enum drive_state state, enum drive_alarm alarm)
{
    drive.state = state;
    drive.alarm = alarm;
    kept.running = state == DRIVE_INFUSING;
    settings_save();
}

void drive_run(bool run)
{
    if (run && drive.alarm == ALARM_SYRINGE_EMPTY)
        drive.volume = 0; /* started again means that a full syringe was put in */
    change_state(run ? DRIVE_INFUSING : DRIVE_IDLE, ALARM_NONE);
}

void drive_set_rate(uint32_t rate)
{
    drive.rate = kept.rate = rate;
    settings_save();
}

/* Up to ± 0.8 %, as the thread of the drive and the sensor make it. */
static uint32_t with_ripple(uint32_t flow)
{
    noise = noise * 1103515245 + 12345;
    int32_t permille = (int32_t)(noise >> 16 & 0xFF) % 17 - 8;
    return (uint32_t)((int32_t)flow + (int32_t)flow * permille / 1000);
}

static void measure(void)
{
    uint32_t target = drive.state == DRIVE_INFUSING ? drive.rate * 100 : 0;
    if (weak(WEAK_FLOW_DRIFTS_DURING_UPDATE) && update_running())
        target = target / 5 * 4;
    /* The drive follows a change within a second: each step leaves a quarter of the way. */
    flow_ul_h = target + (uint32_t)(((int32_t)flow_ul_h - (int32_t)target) / 4);
    uint32_t delivered = with_ripple(flow_ul_h);
    drive.flow = (delivered + 50) / 100;
    volume_nl_rest += delivered * MEASURE_MS / 3600;
    drive.volume += volume_nl_rest / 1000;
    volume_nl_rest %= 1000;
    drive.sequence++;
    if (drive.state == DRIVE_INFUSING && drive.volume >= kept.values[SETTING_SYRINGE_SIZE] * 1000u)
        change_state(DRIVE_ALARM, ALARM_SYRINGE_EMPTY);
}

bool drive_poll(void)
{
    bool fresh = false;
    for (; clock_ms() - measured_at >= MEASURE_MS; measured_at += MEASURE_MS) {
        measure();
        fresh = true;
    }
    return fresh;
}

const struct drive *drive_now(void)
{
    return &drive;
}

void drive_put(struct text *text)
{
    static const char *const states[] = {"idle", "infusing", "alarm"};
    text_put(text, "seq=");
    text_number(text, drive.sequence);
    text_put(text, " uptime_ms=");
    text_number(text, clock_ms());
    text_put(text, " state=");
    text_put(text, states[drive.state]);
    text_put(text, " set=");
    text_decimal(text, drive.rate, 1);
    text_put(text, " flow=");
    text_decimal(text, drive.flow, 1);
    text_put(text, " volume_ml=");
    text_decimal(text, drive.volume, 3);
    text_put(text, " alarm=");
    text_number(text, (uint32_t)drive.alarm);
}
