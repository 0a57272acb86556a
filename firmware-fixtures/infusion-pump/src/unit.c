#include "unit.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

#define ITEM "/sys/firmware/qemu_fw_cfg/by_name/opt/vp1/"
#define DELIVERY_MAX 16384

static uint8_t secret[UNIT_SECRET_SIZE];
static char setup_code[64];

void unit_load(void)
{
    char hex[2 * UNIT_SECRET_SIZE + 1];
    size_t len = 0;
    if (sodium_init() < 0 || file_read(ITEM "unit-secret/raw", hex, sizeof hex) <= 0
        || sodium_hex2bin(secret, sizeof secret, hex, strlen(hex), NULL, &len, NULL) != 0 || len != sizeof secret) {
        errno = EINVAL;
        die("unit secret");
    }
    sodium_memzero(hex, sizeof hex);
    if (file_read(ITEM "setup-code/raw", setup_code, sizeof setup_code) < 0)
        setup_code[0] = '\0';
}

const uint8_t *unit_secret(void) { return secret; }

bool unit_setup_code_is(const char *code)
{
    char given[sizeof setup_code] = "";
    size_t len = strlen(code);
    memcpy(given, code, len < sizeof given ? len : 0);
    bool same = sodium_memcmp(given, setup_code, sizeof given) == 0;
    return same && len > 0;
}

json_t *unit_delivery(void)
{
    char *text = malloc(DELIVERY_MAX);
    json_t *delivery = NULL;
    size_t len;
    if (text == NULL)
        return NULL;
    ssize_t n = file_read(ITEM "delivery/raw", text, DELIVERY_MAX);
    if (n > 0
        && sodium_base642bin((unsigned char *)text, DELIVERY_MAX, text, (size_t)n, NULL, &len, NULL,
                             sodium_base64_VARIANT_ORIGINAL) == 0)
        delivery = json_loadb(text, len, 0, NULL);
    sodium_memzero(text, DELIVERY_MAX);
    free(text);
    return delivery;
}
