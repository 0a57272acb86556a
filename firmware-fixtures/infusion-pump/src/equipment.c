#define _GNU_SOURCE
#include "equipment.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "audit.h"
#include "counters.h"
#include "pump.h"
#include "store.h"
#include "util.h"
#include "weaknesses.h"

#define SAMPLES 600
#define LOG_RECORDS 200
#define FOLDER "/run/vp1/"
#define FOREIGN_FILE_MAX 65536

static const char service_log[] = "service-log.txt";
static const char telemetry[] = "telemetry.csv";
static const char crash[] = "crash.txt";
const char *const equipment_names[] = {service_log, telemetry, crash, NULL};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct pump_view samples[SAMPLES];
static unsigned taken;

void equipment_sample(void)
{
    pthread_mutex_lock(&lock);
    samples[taken++ % SAMPLES] = pump_view();
    pthread_mutex_unlock(&lock);
}

/* Of the audit log only what the machine itself did: no names of people. */
static void log_line(void *file, const char *line)
{
    if (strstr(line, " surface=system ") != NULL)
        fprintf(file, "%s\n", line);
}

static void write_log(FILE *file)
{
    fprintf(file, "%s %s version %s up %u ms\n", PUMP_MODEL, PUMP_SERIAL, PUMP_VERSION, uptime_ms());
    fprintf(file, "modbus_requests %u can_commands %u uds_requests %u battery_mv %u\n", counter_value(COUNT_MODBUS),
            counter_value(COUNT_CAN), counter_value(COUNT_UDS), BATTERY_MV);
    audit_last(LOG_RECORDS, log_line, file);
}

static void write_telemetry(FILE *file)
{
    fprintf(file, "uptime_ms,state,alarm,set_rate,flow,volume_ul\n");
    pthread_mutex_lock(&lock);
    for (unsigned i = taken > SAMPLES ? taken - SAMPLES : 0; i < taken; i++) {
        const struct pump_view *v = &samples[i % SAMPLES];
        fprintf(file, "%u,%s,%u,%u.%u,%u.%u,%u\n", v->uptime_ms, pump_state_name(v->state), v->alarm, v->set_rate / 10,
                v->set_rate % 10, v->flow / 10, v->flow % 10, v->volume_ul);
    }
    pthread_mutex_unlock(&lock);
}

static void write_crash(FILE *file)
{
    const char *end = getenv("VP1_LAST_END");
    fprintf(file, "%s %s version %s\nlast end: %s\n", PUMP_MODEL, PUMP_SERIAL, PUMP_VERSION, end != NULL ? end : "-");
    if (!weak(WEAK_PATIENT_IN_CRASH_DUMP))
        return;
    json_t *patients = patients_to_json(store_look());
    store_done();
    fprintf(file, "heap:\n");
    json_dumpf(patients, file, JSON_INDENT(1));
    fprintf(file, "\n");
    json_decref(patients);
}

/* The weakness path-traversal-in-export-name. */
static char *foreign_file(const char *name, size_t *len)
{
    char path[256];
    char *text = malloc(FOREIGN_FILE_MAX);
    snprintf(path, sizeof path, FOLDER "%s", name);
    ssize_t n = text != NULL ? file_read(path, text, FOREIGN_FILE_MAX) : -1;
    if (n < 0) {
        free(text);
        return NULL;
    }
    *len = (size_t)n;
    return text;
}

char *equipment_text(const char *name, size_t *len)
{
    void (*write)(FILE *file) = strcmp(name, service_log) == 0 ? write_log
                                : strcmp(name, telemetry) == 0 ? write_telemetry
                                : strcmp(name, crash) == 0     ? write_crash
                                                               : NULL;
    char *text = NULL;
    if (write == NULL)
        return weak(WEAK_PATH_TRAVERSAL_IN_EXPORT_NAME) ? foreign_file(name, len) : NULL;
    FILE *file = open_memstream(&text, len);
    if (file == NULL)
        return NULL;
    write(file);
    fclose(file);
    return text;
}
