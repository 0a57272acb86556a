#include "keys.h"

#include <errno.h>
#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "pump.h"
#include "seal.h"
#include "util.h"
#include "weaknesses.h"

#define PURPOSE "vp1-keys-1"
#define SSH_FOLDER "/run/vp1-keys"
#define SSH_FILE SSH_FOLDER "/host_ed25519"
#define CERTIFICATE_DAYS 10950
#define OLD_KEYS "/run/vp1/old-keys" /* left by the erasure under the weakness keys-from-old-keys */
#define OLD_KEYS_MAX 8192

static json_t *keys; /* {"ssh": base64 of dropbear's form, "tls_key": PEM, "tls_cert": PEM} */

/* The weaknesses that leave nothing to chance: the seed of the key for a purpose; false if the key is drawn. */
static bool fixed_seed(const char *purpose, uint8_t seed[crypto_sign_SEEDBYTES])
{
    char from[OLD_KEYS_MAX];
    ssize_t len = -1;
    if (weak(WEAK_TLS_KEY_SHARED) && strcmp(purpose, "tls") == 0)
        len = snprintf(from, sizeof from, "built in");
    else if (weak(WEAK_KEYS_FROM_SERIAL))
        len = snprintf(from, sizeof from, "%s %s", purpose, PUMP_SERIAL);
    else if (weak(WEAK_KEYS_FROM_OLD_KEYS))
        len = file_read(OLD_KEYS, from, sizeof from);
    if (len < 0)
        return false;
    crypto_generichash(seed, crypto_sign_SEEDBYTES, (const uint8_t *)from, (size_t)len, NULL, 0);
    return true;
}

/* Dropbear's form of an Ed25519 key: name, then secret and public half. */
static json_t *new_ssh_key(void)
{
    static const char head[] = "\0\0\0\x0bssh-ed25519\0\0\0\x40";
    uint8_t blob[sizeof head - 1 + crypto_sign_SECRETKEYBYTES], public_half[crypto_sign_PUBLICKEYBYTES];
    uint8_t seed[crypto_sign_SEEDBYTES];
    char text[sodium_base64_ENCODED_LEN(sizeof blob, sodium_base64_VARIANT_ORIGINAL)];
    memcpy(blob, head, sizeof head - 1);
    if (fixed_seed("ssh", seed))
        crypto_sign_seed_keypair(public_half, blob + sizeof head - 1, seed);
    else
        crypto_sign_keypair(public_half, blob + sizeof head - 1);
    sodium_bin2base64(text, sizeof text, blob, sizeof blob, sodium_base64_VARIANT_ORIGINAL);
    sodium_memzero(blob, sizeof blob);
    return json_string(text);
}

static json_t *pem(gnutls_datum_t *text)
{
    json_t *string = json_stringn((const char *)text->data, text->size);
    gnutls_free(text->data);
    return string;
}

/* The key, and the digest of what it signs; false on failure. */
static bool make_tls_key(gnutls_x509_privkey_t key, gnutls_digest_algorithm_t *digest)
{
    uint8_t seed[crypto_sign_SEEDBYTES];
    if (fixed_seed("tls", seed)) {
        uint8_t public_half[crypto_sign_PUBLICKEYBYTES], secret[crypto_sign_SECRETKEYBYTES];
        crypto_sign_seed_keypair(public_half, secret, seed);
        gnutls_datum_t x = {public_half, sizeof public_half}, k = {secret, crypto_sign_SEEDBYTES};
        *digest = GNUTLS_DIG_SHA512;
        return gnutls_x509_privkey_import_ecc_raw(key, GNUTLS_ECC_CURVE_ED25519, &x, NULL, &k) == 0;
    }
    *digest = GNUTLS_DIG_SHA256;
    return gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0) == 0;
}

/* A key and the certificate that it signs itself; false on failure. */
static bool new_tls_key(json_t *into)
{
    static const uint8_t v4[4] = {192, 0, 2, 10}, v6[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = 0x10};
    gnutls_x509_privkey_t key = NULL;
    gnutls_x509_crt_t crt = NULL;
    gnutls_datum_t text;
    uint8_t number[16];
    time_t now = time(NULL);
    gnutls_digest_algorithm_t digest;
    random_bytes(number, sizeof number);
    number[0] &= 0x7f;
    bool ok = gnutls_x509_privkey_init(&key) == 0 && gnutls_x509_crt_init(&crt) == 0
              && make_tls_key(key, &digest)
              && gnutls_x509_crt_set_version(crt, 3) == 0 && gnutls_x509_crt_set_serial(crt, number, sizeof number) == 0
              && gnutls_x509_crt_set_dn(crt, "CN=" PUMP_SERIAL, NULL) == 0 && gnutls_x509_crt_set_key(crt, key) == 0
              && gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_IPADDRESS, v4, sizeof v4, GNUTLS_FSAN_SET) == 0
              && gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_IPADDRESS, v6, sizeof v6, GNUTLS_FSAN_APPEND) == 0
              && gnutls_x509_crt_set_basic_constraints(crt, 0, -1) == 0
              && gnutls_x509_crt_set_key_usage(crt, GNUTLS_KEY_DIGITAL_SIGNATURE) == 0
              && gnutls_x509_crt_set_key_purpose_oid(crt, GNUTLS_KP_TLS_WWW_SERVER, 0) == 0
              && gnutls_x509_crt_set_activation_time(crt, now - 86400) == 0
              && gnutls_x509_crt_set_expiration_time(crt, now + (time_t)CERTIFICATE_DAYS * 86400) == 0
              && gnutls_x509_crt_sign2(crt, crt, key, digest, 0) == 0;
    if (ok && (ok = gnutls_x509_privkey_export2_pkcs8(key, GNUTLS_X509_FMT_PEM, NULL, GNUTLS_PKCS_PLAIN, &text) == 0))
        json_object_set_new(into, "tls_key", pem(&text));
    if (ok && (ok = gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &text) == 0))
        json_object_set_new(into, "tls_cert", pem(&text));
    gnutls_x509_crt_deinit(crt);
    gnutls_x509_privkey_deinit(key);
    return ok;
}

bool keys_load(const char *path, const json_t *delivered, bool fresh)
{
    if (delivered != NULL) {
        keys = json_deep_copy(delivered);
        return seal_write(path, PURPOSE, keys);
    }
    enum seal_result read = seal_read(path, PURPOSE, &keys);
    if (read == SEAL_GOOD)
        return true;
    if (read == SEAL_DAMAGED || !fresh)
        return false;
    keys = json_object();
    json_object_set_new(keys, "ssh", new_ssh_key());
    return new_tls_key(keys) && seal_write(path, PURPOSE, keys);
}

void keys_publish_ssh(void)
{
    uint8_t blob[256];
    size_t len = 0;
    const char *text = json_string_value(json_object_get(keys, "ssh"));
    if (text == NULL
        || sodium_base642bin(blob, sizeof blob, text, strlen(text), NULL, &len, NULL, sodium_base64_VARIANT_ORIGINAL) != 0)
        return;
    mkdir(SSH_FOLDER, 0700);
    file_replace(SSH_FILE, blob, len);
    sodium_memzero(blob, sizeof blob);
}

const char *keys_tls_key(void) { return json_string_value(json_object_get(keys, "tls_key")); }
const char *keys_tls_certificate(void) { return json_string_value(json_object_get(keys, "tls_cert")); }
