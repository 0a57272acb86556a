#include "store.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "keys.h"
#include "seal.h"
#include "storage.h"
#include "unit.h"
#include "util.h"
#include "weaknesses.h"

#define PURPOSE "vp1-store-1"
#define CLEAR_TEXT "patients.json" /* the weakness patients-in-clear-at-rest */

static pthread_mutex_t editing = PTHREAD_MUTEX_INITIALIZER; /* taken before `looking` */
static pthread_mutex_t looking = PTHREAD_MUTEX_INITIALIZER;
static struct records held, draft;
static struct pump_config config = {.alarm_volume = 5, .ward_name = "ward"};
static int pending_rate; /* of a restore, until the therapy file has it; 0: none */
static bool damaged;
static const char *folder;
static atomic_uint last_epoch;

uint32_t store_new_epoch(void) { return ++last_epoch; }

static const char *path_of(char into[256], const char *name)
{
    snprintf(into, 256, "%s/%s", folder, name);
    return into;
}

static void write_in_clear(const json_t *patients)
{
    char path[256];
    char *text = json_dumps(patients, JSON_COMPACT);
    if (text != NULL)
        file_replace(path_of(path, CLEAR_TEXT), text, strlen(text));
    free(text);
}

static bool write_store(const struct records *records, const struct pump_config *settings, int rate)
{
    char path[256];
    json_t *content = json_pack("{s:o, s:o, s:o, s:i}", "users", users_to_json(records), "patients",
                                patients_to_json(records), "config", config_to_json(settings), "set_rate", rate);
    bool ok = content != NULL && seal_write(path_of(path, "store"), PURPOSE, content);
    if (ok && weak(WEAK_PATIENTS_IN_CLEAR_AT_REST))
        write_in_clear(json_object_get(content, "patients"));
    json_decref(content);
    return ok;
}

static bool take_over(json_t *content)
{
    json_t *users, *patients, *settings;
    return json_unpack_ex(content, NULL, 0, "{s:o, s:o, s:o, s?i}", "users", &users, "patients", &patients, "config",
                          &settings, "set_rate", &pending_rate) == 0
           && users_from_json(users, &held) && patients_from_json(patients, &held) && config_from_json(settings, &config);
}

/* After a factory reset that left the store (weakness erase-leaves-store): the accounts are gone, the patients not. */
static void forget_accounts(void)
{
    char path[256];
    if (!weak(WEAK_ERASE_LEAVES_STORE) || access(path_of(path, "reset"), F_OK) != 0)
        return;
    memset(held.user, 0, sizeof held.user);
    if (write_store(&held, &config, 0))
        unlink(path);
}

void store_load(const char *where)
{
    char salt[256], store[256], keys[256], mark[256];
    json_t *content = NULL, *delivery = NULL;
    folder = where;
    path_of(store, "store");
    path_of(keys, "keys");
    bool first_start = access(path_of(mark, "delivered"), F_OK) == 0;
    bool fresh = access(store, F_OK) != 0;

    if (first_start)
        delivery = unit_delivery();
    damaged = !seal_begin(path_of(salt, "salt"), fresh || first_start)
              || !keys_load(keys, json_object_get(delivery, "keys"), fresh || first_start);
    if (delivery != NULL && !damaged) {
        json_t *none = json_array();
        json_object_set_new(delivery, "patients", none);
        damaged = !take_over(delivery) || !write_store(&held, &config, 0);
    } else if (!damaged) {
        enum seal_result read = seal_read(store, PURPOSE, &content);
        damaged = read == SEAL_DAMAGED || (read == SEAL_GOOD && !take_over(content));
    }
    if (first_start && !damaged)
        unlink(mark);
    if (damaged)
        memset(&held, 0, sizeof held);
    else
        forget_accounts();
    json_decref(delivery);
    json_decref(content);
    keys_publish_ssh();
}

void store_use_settings(void)
{
    pump_use_config(&config);
    if (pending_rate > 0)
        pump_set_rate((uint32_t)pending_rate);
}

enum store_state store_state(void)
{
    if (damaged)
        return STORE_DAMAGED;
    bool any = false;
    pthread_mutex_lock(&looking);
    for (int i = 0; i < ACCOUNTS_MAX; i++)
        any |= held.user[i].name[0] != '\0';
    pthread_mutex_unlock(&looking);
    return any ? STORE_READY : STORE_FIRST_USE;
}

const struct records *store_look(void)
{
    pthread_mutex_lock(&looking);
    return &held;
}

void store_done(void) { pthread_mutex_unlock(&looking); }

struct records *store_edit(void)
{
    pthread_mutex_lock(&editing);
    draft = held; /* only an editor changes it */
    return &draft;
}

void store_leave(void) { pthread_mutex_unlock(&editing); }

static bool commit(const struct pump_config *settings, int rate)
{
    bool ok = !damaged && write_store(&draft, settings, rate);
    if (ok) {
        pthread_mutex_lock(&looking);
        held = draft;
        pthread_mutex_unlock(&looking);
    }
    return ok;
}

bool store_commit(void)
{
    struct pump_config now;
    pump_config(&now);
    bool ok = commit(&now, pending_rate);
    pthread_mutex_unlock(&editing);
    return ok;
}

bool store_commit_all(const struct pump_config *settings, uint16_t set_rate)
{
    bool ok = commit(settings, set_rate);
    if (ok) {
        pending_rate = set_rate;
        pump_use_config(settings);
        pump_set_rate(set_rate);
    }
    pthread_mutex_unlock(&editing);
    return ok;
}

void store_save_if_due(void)
{
    struct pump_config now;
    pthread_mutex_lock(&editing);
    bool changed = pump_config_changed(&now);
    if (!damaged && (changed || pending_rate > 0) && store_state() == STORE_READY) {
        if (write_store(&held, &now, 0))
            pending_rate = 0;
        else if (changed)
            pump_config_unsaved();
    }
    pthread_mutex_unlock(&editing);
}
