/* Backup, restore and the equipment's files over the API (VP1-ICD 11.3, 12). */
#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "api.h"
#include "backup.h"
#include "equipment.h"
#include "passwords.h"
#include "storage.h"
#include "store.h"
#include "weaknesses.h"

/* The key of a backup takes 8 MiB: one at a time. */
static pthread_mutex_t one_key = PTHREAD_MUTEX_INITIALIZER;

static void post_backup(struct call *call)
{
    const char *passphrase;
    if (json_unpack_ex(call->body, NULL, JSON_STRICT, "{s:s}", "passphrase", &passphrase) != 0
        || !passphrase_acceptable(passphrase)) {
        api_bad_argument(call);
        return;
    }
    size_t len = 0;
    uint8_t *bytes = NULL;
    struct backup *content = malloc(sizeof *content);
    if (content != NULL) {
        pump_config(&content->config);
        content->records = *store_look();
        store_done();
        content->set_rate = pump_setting(SET_RATE);
        pthread_mutex_lock(&one_key);
        bytes = backup_make(content, passphrase, &len);
        pthread_mutex_unlock(&one_key);
        sodium_memzero(content, sizeof *content);
        free(content);
    }
    api_record(call, "backup", bytes != NULL ? "accepted" : "refused", NULL);
    if (bytes == NULL)
        api_storage_failed(call);
    else
        api_bytes(call, bytes, len, "application/octet-stream");
}

static bool put_into_store(const struct backup *content)
{
    *store_edit() = content->records;
    if (!store_commit_all(&content->config, content->set_rate))
        return false;
    for (int i = 0; i < ACCOUNTS_MAX; i++)
        account_unlock(i, NULL);
    storage_flush();
    return true;
}

/* The weakness restore-writes-before-verify. */
static void write_section(const struct backup *so_far, int section)
{
    struct records *records = store_edit();
    struct pump_config config = so_far->config;
    uint16_t rate = section == 4 ? so_far->set_rate : pump_setting(SET_RATE);
    if (section != 1)
        pump_config(&config);
    if (section == 2)
        memcpy(records->user, so_far->records.user, sizeof records->user);
    if (section == 3) {
        records->patients = so_far->records.patients;
        memcpy(records->patient, so_far->records.patient, sizeof records->patient);
    }
    store_commit_all(&config, rate);
}

static void record_refused(struct call *call, const char *reason)
{
    char detail[48];
    size_t i;
    for (i = 0; reason[i] != '\0' && i < sizeof detail - 1; i++)
        detail[i] = reason[i] == ' ' ? '-' : reason[i];
    detail[i] = '\0';
    api_record(call, "restore", "refused", detail);
}

static void put_restore(struct call *call)
{
    const char *passphrase = api_header(call, "X-Passphrase");
    if (passphrase == NULL || !passphrase_acceptable(passphrase)) {
        api_bad_argument(call);
        return;
    }
    struct backup *content = calloc(1, sizeof *content);
    if (content == NULL) {
        api_storage_failed(call);
        return;
    }
    pthread_mutex_lock(&one_key);
    const char *refused = backup_read(call->bytes, call->len, passphrase, content,
                                      weak(WEAK_RESTORE_WRITES_BEFORE_VERIFY) ? write_section : NULL);
    pthread_mutex_unlock(&one_key);
    if (refused != NULL) {
        record_refused(call, refused);
        api_refuse(call, 422, refused);
    } else if (!put_into_store(content)) {
        record_refused(call, "storage");
        api_storage_failed(call);
    } else {
        api_record(call, "restore", "accepted", NULL);
        api_done(call);
    }
    sodium_memzero(content, sizeof *content);
    free(content);
}

static void get_equipment(struct call *call)
{
    json_t *names = json_array();
    for (int i = 0; equipment_names[i] != NULL; i++)
        json_array_append_new(names, json_string(equipment_names[i]));
    api_answer(call, 200, json_pack("{s:o}", "files", names));
}

static void get_equipment_file(struct call *call)
{
    size_t len;
    char *text = equipment_text(call->tail, &len);
    if (text == NULL) {
        api_refuse(call, 404, "not found");
        return;
    }
    api_record(call, "export", "accepted", call->tail);
    api_bytes(call, text, len, "text/plain; charset=utf-8");
}

const struct route routes_files[] = {
    {.method = "POST", .path = "/api/backup", .roles = ROLE_ADMIN, .body = BODY_JSON, .body_max = API_JSON_MAX,
     .run = post_backup},
    {.method = "PUT", .path = "/api/restore", .roles = ROLE_ADMIN, .body = BODY_BYTES, .body_max = API_BACKUP_MAX,
     .run = put_restore},
    {.method = "GET", .path = "/api/equipment", .roles = ROLE_SERVICE | ROLE_ADMIN, .run = get_equipment},
    {.method = "GET", .path = "/api/equipment/*", .roles = ROLE_SERVICE | ROLE_ADMIN, .run = get_equipment_file},
    {.method = NULL},
};
