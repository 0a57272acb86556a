/* The application of the SD-200: one loop, woken by interrupts. */
#include "audit.h"
#include "bench.h"
#include "board.h"
#include "boot_record.h"
#include "clock.h"
#include "commands.h"
#include "debug.h"
#include "drive.h"
#include "line.h"
#include "modbus_rtu.h"
#include "reset.h"
#include "restart.h"
#include "session.h"
#include "uart.h"
#include "update.h"
#include "version.h"
#include "watchdog.h"

static void announce(enum reset_cause cause)
{
    char buffer[80];
    struct text text;
    text_begin(&text, buffer, sizeof buffer);
    text_put(&text, "boot version=");
    version_put(&text, RUNNING);
    text_put(&text, " cause=");
    text_put(&text, reset_cause_name(cause));
    text_put(&text, " boot=");
    text_number(&text, kept.boots);
    line_send('!', &text);
    debug_print(buffer);
    debug_print(IMAGE_MODEL " up");
}

static void start(void)
{
    enum reset_cause cause = reset_cause_take();
    bool valid = settings_load();
    kept.boots++;
    if (valid)
        settings_save();
    audit_load();
    audit(SURFACE_SYSTEM, NOBODY, "boot", ACCEPTED, reset_cause_name(cause));
    clock_start();
    uart_start();
    session_start();
    drive_begin(valid);
    if (!valid)
        debug_print("storage: settings cannot be read");
    update_start();
    announce(cause);
}

static void report_status(void)
{
    char buffer[160];
    struct text text;
    text_begin(&text, buffer, sizeof buffer);
    text_put(&text, "status ");
    drive_put(&text);
    line_send('!', &text);
}

int main(void)
{
    start();
    for (;;) {
        watchdog_feed();
        commands_poll();
        modbus_rtu_poll();
        bench_poll();
        session_poll();
        audit_poll();
        update_poll();
        restart_poll();
        if (drive_poll())
            report_status();
        while (uart_read(LINE_CONSOLE) >= 0)
            ; /* the debug console listens to nobody */
        interrupts_off();
        if (!uart_waiting())
            wait_for_interrupt(); /* also wakes with interrupts off */
        interrupts_on();
    }
}
