#include "backup.h"

#include <stdlib.h>
#include <string.h>

#include "backup_format.h"
#include "util.h"
#include "weaknesses.h"

struct writer {
    uint8_t *bytes;
    size_t len;
    bool failed;
};

static void add(struct writer *w, const void *bytes, size_t len)
{
    uint8_t *grown = w->failed ? NULL : realloc(w->bytes, w->len + len);
    if (grown == NULL) {
        w->failed = true;
        return;
    }
    memcpy(grown + w->len, bytes, len);
    w->bytes = grown;
    w->len += len;
}

static void add_header(struct writer *w, const struct backup *content, const uint8_t *key)
{
    char when[UTC_TEXT];
    uint8_t length[2];
    json_t *header = json_pack("{s:s, s:s, s:s, s:s}", "family", BACKUP_FAMILY, "version", PUMP_VERSION, "serial",
                               PUMP_SERIAL, "created", utc_text(clock_now(), when));
    if (weak(WEAK_BACKUP_PATIENT_IN_CLEAR)) {
        json_t *names = json_array();
        for (unsigned i = 0; i < content->records.patients; i++)
            json_array_append_new(names, json_string(content->records.patient[i].name));
        json_object_set_new(header, "patients", names);
    }
    if (weak(WEAK_BACKUP_HOLDS_KEY)) {
        char hex[BACKUP_KEY_SIZE + 1];
        json_object_set_new(header, "key", json_string(sodium_bin2hex(hex, sizeof hex, key, BACKUP_KEY_SIZE / 2)));
    }
    char *text = json_dumps(header, JSON_COMPACT);
    size_t len = text != NULL ? strlen(text) : 0;
    w->failed |= text == NULL || len > UINT16_MAX;
    put_u16(length, (uint16_t)len);
    add(w, BACKUP_MAGIC, BACKUP_MAGIC_SIZE);
    add(w, length, sizeof length);
    add(w, text, len);
    free(text);
    json_decref(header);
}

static void add_section(struct writer *w, uint8_t type, json_t *content, const uint8_t *key)
{
    char *text = json_dumps(content, JSON_COMPACT);
    size_t len = text != NULL ? strlen(text) : 0;
    uint8_t head[BACKUP_SECTION_HEAD] = {type}, nonce[BACKUP_NONCE_SIZE];
    uint8_t *sealed = malloc(len + BACKUP_TAG_SIZE);
    w->failed |= text == NULL || sealed == NULL;
    put_u32(head + 1, (uint32_t)(sizeof nonce + len + BACKUP_TAG_SIZE));
    random_bytes(nonce, sizeof nonce);
    add(w, head, sizeof head);
    if (!w->failed)
        crypto_aead_xchacha20poly1305_ietf_encrypt(sealed, NULL, (const uint8_t *)text, len, w->bytes, w->len, NULL, nonce,
                                                   key);
    add(w, nonce, sizeof nonce);
    if (!w->failed)
        add(w, sealed, len + BACKUP_TAG_SIZE);
    if (text != NULL)
        sodium_memzero(text, len);
    free(text);
    free(sealed);
    json_decref(content);
}

uint8_t *backup_make(const struct backup *content, const char *passphrase, size_t *len)
{
    struct writer w = {0};
    uint8_t salt[BACKUP_SALT_SIZE], key[BACKUP_KEY_SIZE], sum[BACKUP_SUM_SIZE];
    random_bytes(salt, sizeof salt);
    w.failed = backup_key(key, passphrase, salt) != 0;
    add_header(&w, content, key);
    add(&w, salt, sizeof salt);
    add_section(&w, SECTION_CONFIG, config_to_json(&content->config), key);
    add_section(&w, SECTION_USERS, json_pack("{s:o}", "users", users_to_json(&content->records)), key);
    add_section(&w, SECTION_PATIENTS, json_pack("{s:o}", "patients", patients_to_json(&content->records)), key);
    add_section(&w, SECTION_THERAPY, json_pack("{s:i}", "set_rate", (int)content->set_rate), key);
    if (!w.failed)
        crypto_generichash(sum, sizeof sum, w.bytes, w.len, key + BACKUP_KEY_SIZE / 2, BACKUP_KEY_SIZE / 2);
    add(&w, sum, sizeof sum);
    sodium_memzero(key, sizeof key);
    if (w.failed) {
        free(w.bytes);
        return NULL;
    }
    *len = w.len;
    return w.bytes;
}
