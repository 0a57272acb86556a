#include "backup.h"

#include <stdlib.h>
#include <string.h>

#include "backup_format.h"
#include "util.h"
#include "version.h"
#include "weaknesses.h"

static const char not_a_backup[] = "not a backup";
static const char other_family[] = "other device family";
static const char other_version[] = "version not supported";
static const char wrong_or_damaged[] = "wrong passphrase or damaged";

static uint32_t get_u32(const uint8_t *at) { return (uint32_t)get_u16(at) << 16 | get_u16(at + 2); }

static const char *check_header(const uint8_t *bytes, size_t len)
{
    const char *family, *version, *serial, *created;
    uint64_t theirs, ours;
    json_t *header = json_loadb((const char *)bytes, len, JSON_REJECT_DUPLICATES, NULL);
    const char *refused = NULL;
    if (json_unpack_ex(header, NULL, 0, "{s:s, s:s, s:s, s:s}", "family", &family, "version", &version, "serial", &serial,
                       "created", &created) != 0)
        refused = not_a_backup;
    else if (strcmp(family, BACKUP_FAMILY) != 0 && !weak(WEAK_RESTORE_FOREIGN_FAMILY))
        refused = other_family;
    else if (!version_parse(PUMP_VERSION, &ours) || !version_parse(version, &theirs) || theirs > ours
             || theirs >> 32 < ours >> 32)
        refused = other_version;
    json_decref(header);
    return refused;
}

static bool take_section(int type, json_t *content, struct backup *into)
{
    json_t *list;
    int rate;
    switch (type) {
    case SECTION_CONFIG:
        return config_from_json(content, &into->config);
    case SECTION_USERS:
        return json_unpack_ex(content, NULL, JSON_STRICT, "{s:o}", "users", &list) == 0
               && users_from_json(list, &into->records) && administrators(&into->records) > 0;
    case SECTION_PATIENTS:
        return json_unpack_ex(content, NULL, JSON_STRICT, "{s:o}", "patients", &list) == 0
               && patients_from_json(list, &into->records);
    case SECTION_THERAPY:
        if (json_unpack_ex(content, NULL, JSON_STRICT, "{s:i}", "set_rate", &rate) != 0 || rate < RATE_MIN || rate > RATE_MAX)
            return false;
        into->set_rate = (uint16_t)rate;
        return true;
    default:
        return false;
    }
}

static bool open_section(const uint8_t *file, size_t at, size_t len, const uint8_t *key, int type, struct backup *into)
{
    const uint8_t *nonce = file + at + BACKUP_SECTION_HEAD;
    unsigned long long got;
    uint8_t *text = malloc(len);
    json_t *content = NULL;
    if (text != NULL
        && crypto_aead_xchacha20poly1305_ietf_decrypt(text, &got, NULL, nonce + BACKUP_NONCE_SIZE, len - BACKUP_NONCE_SIZE,
                                                      file, at + BACKUP_SECTION_HEAD, nonce, key) == 0)
        content = json_loadb((const char *)text, got, JSON_REJECT_DUPLICATES, NULL);
    if (text != NULL)
        sodium_memzero(text, len);
    free(text);
    bool good = content != NULL && take_section(type, content, into);
    json_decref(content);
    return good;
}

/* Where each section starts, in the order of the file; false if they do not fill it. */
static bool find_sections(const uint8_t *file, size_t at, size_t end, size_t starts[BACKUP_SECTIONS + 1])
{
    for (int i = 0; i < BACKUP_SECTIONS; i++) {
        starts[i] = at;
        if (end - at < BACKUP_SECTION_HEAD)
            return false;
        size_t len = get_u32(file + at + 1);
        if (len < BACKUP_NONCE_SIZE + BACKUP_TAG_SIZE || len > end - at - BACKUP_SECTION_HEAD)
            return false;
        at += BACKUP_SECTION_HEAD + len;
    }
    starts[BACKUP_SECTIONS] = at;
    return at == end;
}

static bool sum_right(const uint8_t *file, size_t len, const uint8_t *key)
{
    uint8_t sum[BACKUP_SUM_SIZE];
    crypto_generichash(sum, sizeof sum, file, len, key + BACKUP_KEY_SIZE / 2, BACKUP_KEY_SIZE / 2);
    return sodium_memcmp(sum, file + len, sizeof sum) == 0;
}

static bool read_sections(const uint8_t *file, size_t sections_at, size_t end, const uint8_t *key, struct backup *into,
                          void (*each)(const struct backup *so_far, int section))
{
    size_t starts[BACKUP_SECTIONS + 1];
    bool order_matters = !weak(WEAK_RESTORE_ORDER_UNCHECKED);
    unsigned seen = 0;
    if (!find_sections(file, sections_at, end, starts) || (each == NULL && !sum_right(file, end, key)))
        return false;
    for (int i = 0; i < BACKUP_SECTIONS; i++) {
        int type = file[starts[i]];
        if ((order_matters && type != i + 1)
            || !open_section(file, starts[i], starts[i + 1] - starts[i] - BACKUP_SECTION_HEAD, key, type, into))
            return false;
        if (each != NULL)
            each(into, type);
        seen |= 1u << type;
    }
    return seen == 0x1e && sum_right(file, end, key);
}

/* The weakness restore-order-unchecked: what was swapped after the sealing is put in order before it is verified. */
static void sort_sections(uint8_t *file, size_t sections_at, size_t end)
{
    size_t starts[BACKUP_SECTIONS + 1], at = sections_at;
    uint8_t *copy = malloc(end);
    if (copy != NULL && find_sections(file, sections_at, end, starts)) {
        memcpy(copy, file, end);
        for (int type = 1; type <= BACKUP_SECTIONS; type++)
            for (int i = 0; i < BACKUP_SECTIONS; i++)
                if (copy[starts[i]] == type && at + starts[i + 1] - starts[i] <= end) {
                    memcpy(file + at, copy + starts[i], starts[i + 1] - starts[i]);
                    at += starts[i + 1] - starts[i];
                }
    }
    free(copy);
}

static bool read_sorted(const uint8_t *file, size_t len, size_t sections_at, const uint8_t *key, struct backup *into)
{
    uint8_t *copy = malloc(len);
    bool good = false;
    if (copy != NULL) {
        memcpy(copy, file, len);
        sort_sections(copy, sections_at, len - BACKUP_SUM_SIZE);
        good = read_sections(copy, sections_at, len - BACKUP_SUM_SIZE, key, into, NULL);
    }
    free(copy);
    return good;
}

const char *backup_read(const uint8_t *bytes, size_t len, const char *passphrase, struct backup *into,
                        void (*each)(const struct backup *so_far, int section))
{
    uint8_t key[BACKUP_KEY_SIZE];
    if (len < BACKUP_HEADER_AT || memcmp(bytes, BACKUP_MAGIC, BACKUP_MAGIC_SIZE) != 0)
        return not_a_backup;
    size_t header_len = get_u16(bytes + BACKUP_MAGIC_SIZE), salt_at = BACKUP_HEADER_AT + header_len;
    size_t sections_at = salt_at + BACKUP_SALT_SIZE;
    if (salt_at > len)
        return not_a_backup;
    const char *refused = check_header(bytes + BACKUP_HEADER_AT, header_len);
    if (refused != NULL)
        return refused;
    if (sections_at + BACKUP_SUM_SIZE > len || backup_key(key, passphrase, bytes + salt_at) != 0)
        return wrong_or_damaged;
    bool good = read_sections(bytes, sections_at, len - BACKUP_SUM_SIZE, key, into, each);
    if (!good && weak(WEAK_RESTORE_ORDER_UNCHECKED))
        good = read_sorted(bytes, len, sections_at, key, into);
    sodium_memzero(key, sizeof key);
    return good ? NULL : wrong_or_damaged;
}
