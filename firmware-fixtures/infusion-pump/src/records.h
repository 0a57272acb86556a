/* Users, patients and configuration, and their JSON (in the store and in backups alike). */
#ifndef VP1_RECORDS_H
#define VP1_RECORDS_H
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "accounts.h"
#include "pump.h"

#define HASH_SIZE 128
#define PATIENTS_MAX 64
#define PATIENT_ID_MAX 16    /* characters */
#define PATIENT_NAME_MAX 64
#define PATIENT_NOTE_MAX 200
#define UTF8_MOST 4          /* bytes a character */

struct user {
    char name[ACCOUNT_NAME_MAX + 1]; /* empty: a free place */
    char hash[HASH_SIZE];
    enum role role;
    uint32_t epoch; /* new with every change; a session of an older one is over. Not kept. */
};

struct patient {
    char id[PATIENT_ID_MAX + 1];
    char name[PATIENT_NAME_MAX * UTF8_MOST + 1];
    char ward[PATIENT_NAME_MAX * UTF8_MOST + 1];
    char note[PATIENT_NOTE_MAX * UTF8_MOST + 1];
};

struct records {
    struct user user[ACCOUNTS_MAX];
    unsigned patients;
    struct patient patient[PATIENTS_MAX];
};

bool account_name_good(const char *name);

/* Administrators among the users. */
unsigned administrators(const struct records *records);

/* Fills in a patient from texts; false if one is not as section 11.5 wants it. */
bool patient_fill(struct patient *patient, const char *id, const char *name, const char *ward, const char *note);
json_t *patient_to_json(const struct patient *patient);

/* From JSON: false if anything is not as it should be; then `records` or `config` may be half filled. */
json_t *users_to_json(const struct records *records);
bool users_from_json(json_t *users, struct records *records);
json_t *patients_to_json(const struct records *records);
bool patients_from_json(json_t *patients, struct records *records);
json_t *config_to_json(const struct pump_config *config);
bool config_from_json(json_t *json, struct pump_config *config);
#endif
