/* The services of rom.h. */
#include <string.h>

#include "boot.h"
#include "monocypher.h"
#include "signature.h"
#include "unit.h"
#include "weaknesses.h"

static enum image_verdict check_image(const void *image, size_t size)
{
    const struct image_header *header = image;
    if (size < sizeof *header + SIGNATURE_SIZE || header->magic != IMAGE_MAGIC || header->payload_size > size ||
        image_size(header) != size)
        return IMAGE_DAMAGED;
    size_t signed_size = size - SIGNATURE_SIZE;
    const uint8_t *signature = (const uint8_t *)image + signed_size;
    if (!signature_right(signature, maker_key, image, signed_size) && !weak(WEAK_UPDATE_UNSIGNED))
        return IMAGE_UNSIGNED;
    if (strncmp(header->model, IMAGE_MODEL, sizeof header->model) && !weak(WEAK_UPDATE_OTHER_MODEL))
        return IMAGE_OTHER_MODEL;
    return IMAGE_RIGHT;
}

static void hash_pin(uint8_t hash[PIN_HASH_SIZE], const uint8_t salt[16], const char *pin)
{
    crypto_blake2b_ctx context;
    crypto_blake2b_keyed_init(&context, PIN_HASH_SIZE, unit_secret, sizeof unit_secret);
    crypto_blake2b_update(&context, salt, 16);
    crypto_blake2b_update(&context, (const uint8_t *)pin, strlen(pin));
    crypto_blake2b_final(&context, hash);
}

const struct rom rom_services = {.serial = unit_serial, .check_image = check_image, .hash_pin = hash_pin};
