/* Patients over the API (VP1-ICD 11.3, 11.5). */
#include <sodium.h>
#include <string.h>

#include "api.h"
#include "store.h"
#include "util.h"
#include "weaknesses.h"

static void get_patients(struct call *call)
{
    json_t *list = patients_to_json(store_look());
    store_done();
    api_answer(call, 200, json_pack("{s:o}", "patients", list));
}

#define PSEUDONYM_DIGITS 16

static void pseudonym(const struct patient *patient, char hex[PSEUDONYM_DIGITS + 1])
{
    uint8_t bytes[crypto_hash_sha256_BYTES];
    random_bytes(bytes, PSEUDONYM_DIGITS / 2);
    if (weak(WEAK_EXPORT_PSEUDONYM_IS_DIGEST))
        crypto_hash_sha256(bytes, (const uint8_t *)patient->id, strlen(patient->id));
    sodium_bin2hex(hex, PSEUDONYM_DIGITS + 1, bytes, PSEUDONYM_DIGITS / 2);
}

/* In the order of the pseudonyms: that in which the patients came tells nothing. */
static void insert_row(json_t *rows, json_t *row)
{
    const char *own = json_string_value(json_object_get(row, "pseudonym"));
    size_t at = 0;
    while (at < json_array_size(rows)
           && strcmp(json_string_value(json_object_get(json_array_get(rows, at), "pseudonym")), own) < 0)
        at++;
    json_array_insert_new(rows, at, row);
}

static void get_export(struct call *call)
{
    json_t *rows = json_array();
    const struct records *records = store_look();
    for (unsigned i = 0; i < records->patients; i++) {
        const struct patient *patient = &records->patient[i];
        char hex[PSEUDONYM_DIGITS + 1];
        pseudonym(patient, hex);
        json_t *row = json_pack("{s:s, s:s}", "pseudonym", hex, "ward", patient->ward);
        if (weak(WEAK_EXPORT_NAMES_PATIENTS))
            json_object_set_new(row, "note", json_string(patient->note));
        insert_row(rows, row);
    }
    store_done();
    api_record(call, "export", "accepted", "patients");
    api_answer(call, 200, json_pack("{s:o}", "export", rows));
}

static int find(const struct records *records, const char *id)
{
    for (unsigned i = 0; i < records->patients; i++)
        if (strcmp(records->patient[i].id, id) == 0)
            return (int)i;
    return -1;
}

/* `id` lies in nothing that the store changes. */
static void finish(struct call *call, unsigned status, const char *event, const char *id)
{
    if (!store_commit()) {
        api_storage_failed(call);
        return;
    }
    api_record(call, event, "accepted", id);
    api_answer(call, status, json_object());
}

static void post_patient(struct call *call)
{
    const char *id, *name, *ward, *note;
    struct patient fresh;
    if (json_unpack_ex(call->body, NULL, JSON_STRICT, "{s:s, s:s, s:s, s:s}", "id", &id, "name", &name, "ward", &ward,
                       "note", &note) != 0
        || !patient_fill(&fresh, id, name, ward, note)) {
        api_bad_argument(call);
        return;
    }
    struct records *records = store_edit();
    if (records->patients == PATIENTS_MAX || find(records, id) >= 0) {
        store_leave();
        api_not_possible(call);
        return;
    }
    records->patient[records->patients++] = fresh;
    finish(call, 201, "patient-add", id);
}

static void delete_patient(struct call *call)
{
    struct records *records = store_edit();
    int at = find(records, call->tail);
    if (at < 0) {
        store_leave();
        api_refuse(call, 404, "not found");
        return;
    }
    unsigned after = --records->patients - (unsigned)at;
    memmove(&records->patient[at], &records->patient[at + 1], after * sizeof records->patient[0]);
    memset(&records->patient[records->patients], 0, sizeof records->patient[0]);
    finish(call, 200, "patient-remove", call->tail);
}

const struct route routes_patients[] = {
    {.method = "GET", .path = "/api/patients", .roles = ROLE_OPERATOR | ROLE_ADMIN, .run = get_patients},
    {.method = "POST", .path = "/api/patients", .roles = ROLE_OPERATOR | ROLE_ADMIN, .body = BODY_JSON,
     .body_max = API_JSON_MAX, .run = post_patient},
    {.method = "GET", .path = "/api/patients/export", .roles = ROLE_ADMIN, .run = get_export},
    {.method = "DELETE", .path = "/api/patients/*", .roles = ROLE_OPERATOR | ROLE_ADMIN, .run = delete_patient},
    {.method = NULL},
};
