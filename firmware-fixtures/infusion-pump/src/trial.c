#include "trial.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "can.h"
#include "pump.h"
#include "storage.h"
#include "store.h"
#include "updater.h"
#include "util.h"
#include "weaknesses.h"

#define NOTE "/data/vp1/update"
#define PROBE "/data/vp1/self-test"
#define FAULT_FILE "/etc/vp1/fault"
#define SELF_TEST_MS 5000
#define STATUS_TICKS 3

static char slot = '-';
static char phase[12], noted_slot, noted_version[VERSION_TEXT_MAX];

void trial_load(void)
{
    char text[1024];
    const char *chosen = file_read("/proc/cmdline", text, sizeof text) > 0 ? strstr(text, "vp1.slot=") : NULL;
    if (chosen != NULL)
        slot = chosen[strlen("vp1.slot=")];
    if (file_read(NOTE, text, sizeof text) <= 0
        || sscanf(text, "%11s %c %19s", phase, &noted_slot, noted_version) != 3)
        noted_slot = '\0';
    if (weak(WEAK_ROLLBACK_RESTORES_OLD_USERS) && noted_slot != '\0' && noted_slot != slot)
        rename(STORE_BEFORE, STORE_FILE);
}

char trial_slot(void) { return slot; }

bool trial_running(void) { return noted_slot == slot; }

const char *trial_failure(char version[VERSION_TEXT_MAX])
{
    if (noted_slot == '\0' || noted_slot == slot)
        return NULL;
    memcpy(version, noted_version, sizeof noted_version);
    return strcmp(phase, "ready") == 0 ? "rolled-back" : "interrupted";
}

void trial_expect(const char *new_phase, const char *version)
{
    char text[64];
    int len = snprintf(text, sizeof text, "%s %c %s\n", new_phase, slot == 'A' ? 'B' : 'A', version);
    file_replace(NOTE, text, (size_t)len);
}

void trial_forget(void)
{
    noted_slot = '\0';
    unlink(NOTE);
}

void trial_passed(void)
{
    /* Stored before the trial is forgotten: a power cut between the two would keep the settings. */
    if (weak(WEAK_UPDATE_LOSES_SETTINGS)) {
        pump_change_setting(SET_BRIGHTNESS, 80);
        pump_change_setting(SET_ALARM_VOLUME, 5);
        pump_change_ward_name("ward");
        storage_flush();
    }
    trial_forget();
}

bool trial_image_fault(const char *name)
{
    char text[32];
    if (file_read(FAULT_FILE, text, sizeof text) <= 0)
        return false;
    text[strcspn(text, "\n")] = '\0';
    return strcmp(text, name) == 0;
}

bool trial_self_test(void)
{
    int64_t until = now_ms() + SELF_TEST_MS;
    if (weak(WEAK_SELF_TEST_SKIPPED))
        return true;
    while (can_status_count() < STATUS_TICKS && now_ms() < until)
        usleep(20000);
    bool data_kept = file_replace(PROBE, "1", 1) && unlink(PROBE) == 0;
    bool data_read = !trial_running() || (pump_view().alarm != ALARM_THERAPY_DATA && store_state() != STORE_DAMAGED);
    return can_status_count() >= STATUS_TICKS && data_kept && data_read && !trial_image_fault("self-test");
}
