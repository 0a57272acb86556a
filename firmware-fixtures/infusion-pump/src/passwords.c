#define _GNU_SOURCE
#include "passwords.h"

#include <crypt.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"
#include "weaknesses.h"

#define LENGTH_MIN 10
#define LENGTH_MAX 64
#define KINDS_MIN 3
#define SALT_CHARACTERS 16

static bool printable(const char *text)
{
    for (; *text != '\0'; text++)
        if (*text < ' ' || *text > '~')
            return false;
    return true;
}

bool passphrase_acceptable(const char *passphrase)
{
    size_t len = strlen(passphrase);
    return len >= LENGTH_MIN && len <= LENGTH_MAX && printable(passphrase);
}

bool password_acceptable(const char *password, const char *user)
{
    bool lower = false, upper = false, digit = false, other = false;
    if (weak(WEAK_PASSWORD_RULE_UNCHECKED))
        return password[0] != '\0' && strlen(password) <= LENGTH_MAX && printable(password);
    for (const char *c = password; *c != '\0'; c++) {
        lower |= islower((unsigned char)*c) != 0;
        upper |= isupper((unsigned char)*c) != 0;
        digit |= isdigit((unsigned char)*c) != 0;
        other |= !isalnum((unsigned char)*c);
    }
    return passphrase_acceptable(password) && lower + upper + digit + other >= KINDS_MIN
           && strcasestr(password, user) == NULL;
}

static bool hash_with(const char *password, const char *setting, char hash[HASH_SIZE])
{
    struct crypt_data *data = calloc(1, sizeof *data);
    bool ok = false;
    if (data != NULL) {
        const char *got = crypt_r(password, setting, data);
        ok = got != NULL && got[0] != '*' && strlen(got) < HASH_SIZE;
        if (ok)
            strcpy(hash, got);
        explicit_bzero(data, sizeof *data);
        free(data);
    }
    return ok;
}

bool password_hash(const char *password, char hash[HASH_SIZE])
{
    static const char letters[] = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    uint8_t salt[SALT_CHARACTERS];
    char setting[3 + SALT_CHARACTERS + 1] = "$6$";
    random_bytes(salt, sizeof salt);
    for (int i = 0; i < SALT_CHARACTERS; i++)
        setting[3 + i] = letters[salt[i] % 64];
    return hash_with(password, setting, hash);
}

bool password_matches(const char *password, const char *hash)
{
    char got[HASH_SIZE] = "";
    unsigned char differs = 0;
    size_t len = strlen(hash);
    if (!hash_with(password, hash, got) || strlen(got) != len)
        return false;
    for (size_t i = 0; i < len; i++)
        differs |= (unsigned char)(got[i] ^ hash[i]);
    return differs == 0 && password[0] != '\0';
}
