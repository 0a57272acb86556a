#include "records.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "store.h"

bool account_name_good(const char *name)
{
    size_t len = strlen(name);
    return len >= 1 && len <= ACCOUNT_NAME_MAX && name[0] >= 'a' && name[0] <= 'z'
           && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == len;
}

unsigned administrators(const struct records *records)
{
    unsigned found = 0;
    for (int i = 0; i < ACCOUNTS_MAX; i++)
        found += records->user[i].name[0] != '\0' && records->user[i].role == ROLE_ADMIN;
    return found;
}

/* Copies UTF-8 of `least` to `most` characters without control characters (jansson has made sure that it is UTF-8). */
static bool copy_text(char *into, const char *text, size_t least, size_t most)
{
    size_t characters = 0, i;
    for (i = 0; text[i] != '\0'; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c < 0x20 || c == 0x7f || (c == 0xc2 && (unsigned char)text[i + 1] < 0xa0))
            return false;
        if ((c & 0xc0) != 0x80 && ++characters > most)
            return false;
    }
    memcpy(into, text, i + 1);
    return characters >= least;
}

bool patient_fill(struct patient *patient, const char *id, const char *name, const char *ward, const char *note)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-";
    return strspn(id, letters) == strlen(id) && copy_text(patient->id, id, 1, PATIENT_ID_MAX)
           && copy_text(patient->name, name, 1, PATIENT_NAME_MAX) && copy_text(patient->ward, ward, 0, PATIENT_NAME_MAX)
           && copy_text(patient->note, note, 0, PATIENT_NOTE_MAX);
}

json_t *patient_to_json(const struct patient *p)
{
    return json_pack("{s:s, s:s, s:s, s:s}", "id", p->id, "name", p->name, "ward", p->ward, "note", p->note);
}

json_t *users_to_json(const struct records *records)
{
    json_t *list = json_array();
    for (int i = 0; i < ACCOUNTS_MAX; i++) {
        const struct user *u = &records->user[i];
        if (u->name[0] != '\0')
            json_array_append_new(
                list, json_pack("{s:s, s:s, s:s}", "user", u->name, "role", role_name(u->role), "hash", u->hash));
    }
    return list;
}

bool users_from_json(json_t *users, struct records *records)
{
    size_t i, count = json_array_size(users);
    json_t *each;
    memset(records->user, 0, sizeof records->user);
    if (!json_is_array(users) || count > ACCOUNTS_MAX)
        return false;
    json_array_foreach(users, i, each) {
        struct user *u = &records->user[i];
        const char *name, *role, *hash;
        if (json_unpack_ex(each, NULL, JSON_STRICT, "{s:s, s:s, s:s}", "user", &name, "role", &role, "hash", &hash) != 0
            || !account_name_good(name) || role_of(role) == 0 || strncmp(hash, "$6$", 3) != 0
            || strlen(hash) >= sizeof u->hash)
            return false;
        for (size_t before = 0; before < i; before++)
            if (strcmp(records->user[before].name, name) == 0)
                return false;
        strcpy(u->name, name);
        strcpy(u->hash, hash);
        u->role = role_of(role);
        u->epoch = store_new_epoch();
    }
    return count == 0 || administrators(records) > 0;
}

json_t *patients_to_json(const struct records *records)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < records->patients; i++)
        json_array_append_new(list, patient_to_json(&records->patient[i]));
    return list;
}

bool patients_from_json(json_t *patients, struct records *records)
{
    size_t i;
    json_t *each;
    records->patients = 0;
    if (!json_is_array(patients) || json_array_size(patients) > PATIENTS_MAX)
        return false;
    json_array_foreach(patients, i, each) {
        const char *id, *name, *ward, *note;
        if (json_unpack_ex(each, NULL, JSON_STRICT, "{s:s, s:s, s:s, s:s}", "id", &id, "name", &name, "ward", &ward, "note",
                           &note) != 0
            || !patient_fill(&records->patient[i], id, name, ward, note))
            return false;
        for (size_t before = 0; before < i; before++)
            if (strcmp(records->patient[before].id, id) == 0)
                return false;
        records->patients++;
    }
    return true;
}

json_t *config_to_json(const struct pump_config *config)
{
    return json_pack("{s:i, s:s}", "alarm_volume", config->alarm_volume, "ward_name", config->ward_name);
}

bool config_from_json(json_t *json, struct pump_config *config)
{
    int volume;
    const char *ward;
    if (json_unpack_ex(json, NULL, JSON_STRICT, "{s:i, s:s}", "alarm_volume", &volume, "ward_name", &ward) != 0
        || volume < ALARM_VOLUME_MIN || volume > ALARM_VOLUME_MAX || !ward_name_good(ward))
        return false;
    config->alarm_volume = volume;
    strcpy(config->ward_name, ward);
    return true;
}
