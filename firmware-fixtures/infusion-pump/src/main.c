#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/watchdog.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "api.h"
#include "api_session.h"
#include "application.h"
#include "audit.h"
#include "can.h"
#include "control.h"
#include "counters.h"
#include "equipment.h"
#include "modbus.h"
#include "pump.h"
#include "storage.h"
#include "store.h"
#include "terminals.h"
#include "trial.h"
#include "uds.h"
#include "update.h"
#include "unit.h"
#include "util.h"
#include "weaknesses.h"

#define CAN_INTERFACE "can0"
#define UID_VP1 900
#define GID_MENU 1000

atomic_uint counters[COUNTER_COUNT];
_Atomic int64_t last_count_ms;

void application_restart(void)
{
    storage_flush();
    _exit(0);
}

static void *erase_soon(void *unused)
{
    (void)unused;
    usleep(500000); /* the answer leaves first */
    storage_flush();
    _exit(EXIT_ERASE);
}

void application_erase(void)
{
    file_replace("/data/vp1/erase", "", 0); /* from here on not even a power cut keeps the data */
    thread_start(erase_soon, NULL, 0);
}

/* Everything privileged is open by now: what comes over the links is handled without root. */
static void drop_privileges(void)
{
    if (setgroups(0, NULL) != 0 || setresgid(UID_VP1, UID_VP1, UID_VP1) != 0
        || setresuid(UID_VP1, UID_VP1, UID_VP1) != 0)
        die("privileges");
}

/* What hangs is reset; while a new slot is on trial sooner, so that three tries take less than a minute. */
static int watchdog_open(void)
{
    int watchdog = open("/dev/watchdog", O_WRONLY | O_CLOEXEC), seconds = TRIAL_WATCHDOG_S;
    if (trial_running())
        ioctl(watchdog, WDIOC_SETTIMEOUT, &seconds);
    return watchdog;
}

static void main_loop(int watchdog)
{
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    for (;;) {
        struct timespec second = {.tv_sec = 1};
        if (sigtimedwait(&ends, NULL, &second) == SIGTERM)
            application_restart();
        sessions_sweep();
        equipment_sample();
        if (watchdog >= 0 && can_status_alive())
            (void)!write(watchdog, "\0", 1);
    }
}

int main(void)
{
    sigset_t blocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    sigaddset(&blocked, SIGHUP);
    sigaddset(&blocked, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &blocked, NULL);
    signal(SIGPIPE, SIG_IGN);
    umask(077);
    uptime_begin();

    version_load(VERSION_FILE);
    weaknesses_load("/run/vp1/weaknesses");
    update_start_updater();
    int watchdog = watchdog_open();
    unit_load();
    store_load("/data/vp1");
    audit_load("/data/vp1/audit.log");
    pump_load("/data/vp1/therapy", store_state() == STORE_FIRST_USE);
    store_use_settings();
    const char *last_end = getenv("VP1_LAST_END");
    audit(NULL, "system", "boot", "accepted", last_end);

    can_start(CAN_INTERFACE);
    while (trial_image_fault("hang"))
        pause();
    uds_start(CAN_INTERFACE);
    modbus_start("/dev/ttyS0");
    menu_start(GID_MENU);
    control_start();
    undeclared_port_start();
    api_start();
    console_start("/dev/ttyAMA0");
    drop_privileges();
    storage_start(); /* only now: its files belong to the unprivileged user */
    update_start();
    main_loop(watchdog);
}
