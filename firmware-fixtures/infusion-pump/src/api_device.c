/* Status, therapy, configuration and audit log over the API (VP1-ICD 11.3). */
#define _GNU_SOURCE
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api.h"
#include "audit.h"
#include "counters.h"
#include "pump.h"
#include "storage.h"
#include "trial.h"
#include "util.h"
#include "weaknesses.h"

#define AUDIT_DEFAULT 20
#define AUDIT_MOST 200
#define YEAR_MIN 2020
#define YEAR_MAX 2099

static void get_status(struct call *call)
{
    struct pump_view v = pump_view();
    api_answer(call, 200,
               json_pack("{s:s, s:s, s:s, s:I, s:s, s:f, s:f, s:f, s:i}", "model", PUMP_MODEL, "serial", PUMP_SERIAL,
                         "version", PUMP_VERSION, "uptime_ms", (json_int_t)v.uptime_ms, "state", pump_state_name(v.state),
                         "set_rate", v.set_rate / 10.0, "flow", v.flow / 10.0, "volume_ml", v.volume_ul / 1000.0, "alarm",
                         (int)v.alarm));
}

static void get_version(struct call *call)
{
    char slot[2] = {trial_slot(), '\0'};
    api_answer(call, 200,
               json_pack("{s:s, s:s, s:s, s:s}", "model", PUMP_MODEL, "serial", PUMP_SERIAL, "version", PUMP_VERSION, "slot",
                         slot));
}

static void start(struct call *call)
{
    if (json_object_size(call->body) > 0) {
        api_bad_argument(call);
        return;
    }
    pump_start();
    api_record(call, "start", "accepted", NULL);
    api_done(call);
}

static void stop(struct call *call)
{
    if (json_object_size(call->body) > 0) {
        api_bad_argument(call);
        return;
    }
    pump_stop();
    api_record(call, "stop", "accepted", NULL);
    api_done(call);
}

static void alarm_test(struct call *call)
{
    if (json_object_size(call->body) > 0) {
        api_bad_argument(call);
        return;
    }
    pump_test_alarm();
    api_record(call, "alarm-test", "accepted", NULL);
    api_done(call);
}

static void put_rate(struct call *call)
{
    double rate;
    char detail[16];
    if (json_unpack_ex(call->body, NULL, JSON_STRICT, "{s:F}", "ml_per_hour", &rate) != 0 || !(rate > 0 && rate < 10000)
        || fabs(rate * 10 - round(rate * 10)) > 1e-6 || !pump_set_rate((uint32_t)lround(rate * 10))) {
        api_bad_argument(call);
        return;
    }
    snprintf(detail, sizeof detail, "%.1f", rate);
    api_record(call, "rate", "accepted", detail);
    api_done(call);
}

static void get_diagnostics(struct call *call)
{
    api_answer(call, 200,
               json_pack("{s:I, s:I, s:I, s:i}", "modbus_requests", (json_int_t)counter_value(COUNT_MODBUS), "can_commands",
                         (json_int_t)counter_value(COUNT_CAN), "uds_requests", (json_int_t)counter_value(COUNT_UDS),
                         "battery_mv", BATTERY_MV));
}

static void get_config(struct call *call)
{
    struct pump_config config;
    pump_config(&config);
    api_answer(call, 200, json_pack("{s:i, s:s}", "alarm_volume", config.alarm_volume, "ward_name", config.ward_name));
}

static void put_config(struct call *call)
{
    int volume = 0;
    const char *ward = NULL;
    bool good = json_object_size(call->body) == 1
                && json_unpack_ex(call->body, NULL, JSON_STRICT, "{s?i, s?s}", "alarm_volume", &volume, "ward_name", &ward) == 0;
    if (good && ward != NULL) {
        good = pump_change_ward_name(ward);
    } else if (good) {
        good = volume >= ALARM_VOLUME_MIN && volume <= ALARM_VOLUME_MAX;
        if (good)
            pump_change_setting(SET_ALARM_VOLUME, (uint16_t)volume);
    }
    if (!good) {
        api_bad_argument(call);
        return;
    }
    api_record(call, "config", "accepted", ward != NULL ? "ward_name" : "alarm_volume");
    storage_flush();
    api_done(call);
}

/* A time as utc_text writes it; a day that the calendar has not reads as another one, and so differs. */
static bool parse_time(const char *text, time_t *time)
{
    struct tm utc = {0};
    char again[UTC_TEXT];
    const char *end = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &utc);
    if (end == NULL || *end != '\0' || utc.tm_year + 1900 < YEAR_MIN || utc.tm_year + 1900 > YEAR_MAX)
        return false;
    *time = timegm(&utc);
    return strcmp(utc_text(*time, again), text) == 0;
}

static void put_clock(struct call *call)
{
    const char *text;
    char before[UTC_TEXT];
    time_t time;
    if (json_unpack_ex(call->body, NULL, JSON_STRICT, "{s:s}", "time", &text) != 0 || !parse_time(text, &time)) {
        api_bad_argument(call);
        return;
    }
    utc_text(clock_now(), before);
    clock_set(time);
    if (!weak(WEAK_CLOCK_CHANGE_UNRECORDED))
        api_record(call, "clock", "accepted", before);
    api_done(call);
}

static void add_line(void *list, const char *line) { json_array_append_new(list, json_string(line)); }

static void get_audit(struct call *call)
{
    const char *last = MHD_lookup_connection_value(call->connection, MHD_GET_ARGUMENT_KIND, "last");
    int arguments = MHD_get_connection_values(call->connection, MHD_GET_ARGUMENT_KIND, NULL, NULL);
    long count = AUDIT_DEFAULT;
    if (last != NULL)
        count = strlen(last) <= 3 && strspn(last, "0123456789") == strlen(last) ? strtol(last, NULL, 10) : 0;
    if (arguments != (last != NULL) || count < 1 || count > AUDIT_MOST) {
        api_bad_argument(call);
        return;
    }
    json_t *lines = json_array();
    audit_last((unsigned)count, add_line, lines);
    api_answer(call, 200, json_pack("{s:o}", "records", lines));
}

static bool audit_deletable(void) { return weak(WEAK_AUDIT_DELETABLE); }

static void delete_audit(struct call *call)
{
    audit_clear();
    api_done(call);
}

#define JSON_BODY .body = BODY_JSON, .body_max = API_JSON_MAX
const struct route routes_device[] = {
    {.method = "GET", .path = "/api/status", .roles = EVERYBODY, .run = get_status},
    {.method = "GET", .path = "/api/version", .roles = EVERYBODY, .run = get_version},
    {.method = "POST", .path = "/api/start", .roles = ROLE_OPERATOR, JSON_BODY, .run = start},
    {.method = "POST", .path = "/api/stop", .roles = ROLE_OPERATOR, JSON_BODY, .run = stop},
    {.method = "POST", .path = "/api/alarm-test", .roles = ROLE_OPERATOR, JSON_BODY, .run = alarm_test},
    {.method = "PUT", .path = "/api/rate", .roles = ROLE_OPERATOR, JSON_BODY, .run = put_rate},
    {.method = "GET", .path = "/api/diagnostics", .roles = ROLE_SERVICE, .run = get_diagnostics},
    {.method = "GET", .path = "/api/config", .roles = ROLE_ADMIN, .run = get_config},
    {.method = "PUT", .path = "/api/config", .roles = ROLE_ADMIN, JSON_BODY, .run = put_config},
    {.method = "PUT", .path = "/api/clock", .roles = ROLE_ADMIN, JSON_BODY, .run = put_clock},
    {.method = "GET", .path = "/api/audit", .roles = ROLE_ADMIN, .query = true, .run = get_audit},
    {.method = "DELETE", .path = "/api/audit", .roles = ROLE_ADMIN, .there = audit_deletable, .run = delete_audit},
    {.method = NULL},
};
