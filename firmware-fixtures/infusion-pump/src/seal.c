#include "seal.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "unit.h"
#include "util.h"

#define MAGIC "VP1SEAL1"
#define MAGIC_SIZE 8
#define NONCE_SIZE crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define TAG_SIZE crypto_aead_xchacha20poly1305_ietf_ABYTES
#define HEAD (MAGIC_SIZE + NONCE_SIZE)
#define SALT_SIZE 32
#define FILE_MAX (1 << 20)

static uint8_t key[crypto_aead_xchacha20poly1305_ietf_KEYBYTES];

bool seal_begin(const char *salt_path, bool fresh)
{
    char salt[SALT_SIZE + 1];
    if (file_read(salt_path, salt, sizeof salt) != SALT_SIZE) {
        if (!fresh)
            return false;
        random_bytes(salt, SALT_SIZE);
        if (!file_replace(salt_path, salt, SALT_SIZE))
            return false;
    }
    crypto_generichash(key, sizeof key, (const uint8_t *)salt, SALT_SIZE, unit_secret(), UNIT_SECRET_SIZE);
    return true;
}

bool seal_write(const char *path, const char *purpose, const json_t *content)
{
    char *text = json_dumps(content, JSON_COMPACT);
    if (text == NULL)
        return false;
    size_t len = strlen(text);
    uint8_t *file = malloc(HEAD + len + TAG_SIZE);
    bool ok = false;
    if (file != NULL) {
        unsigned long long sealed;
        memcpy(file, MAGIC, MAGIC_SIZE);
        random_bytes(file + MAGIC_SIZE, NONCE_SIZE);
        crypto_aead_xchacha20poly1305_ietf_encrypt(file + HEAD, &sealed, (const uint8_t *)text, len,
                                                   (const uint8_t *)purpose, strlen(purpose), NULL, file + MAGIC_SIZE, key);
        ok = file_replace(path, file, HEAD + sealed);
    }
    free(file);
    sodium_memzero(text, len);
    free(text);
    return ok;
}

enum seal_result seal_read(const char *path, const char *purpose, json_t **content)
{
    struct stat about;
    if (stat(path, &about) != 0)
        return SEAL_ABSENT;
    size_t size = (size_t)about.st_size;
    if (size < HEAD + TAG_SIZE || size > FILE_MAX)
        return SEAL_DAMAGED;
    uint8_t *file = malloc(size + 1);
    unsigned long long len;
    *content = NULL;
    if (file != NULL && file_read(path, (char *)file, size + 1) == (ssize_t)size
        && memcmp(file, MAGIC, MAGIC_SIZE) == 0
        && crypto_aead_xchacha20poly1305_ietf_decrypt(file + HEAD, &len, NULL, file + HEAD, size - HEAD,
                                                      (const uint8_t *)purpose, strlen(purpose), file + MAGIC_SIZE, key) == 0)
        *content = json_loadb((const char *)file + HEAD, len, JSON_REJECT_DUPLICATES, NULL);
    if (file != NULL)
        sodium_memzero(file, size);
    free(file);
    return *content != NULL ? SEAL_GOOD : SEAL_DAMAGED;
}
