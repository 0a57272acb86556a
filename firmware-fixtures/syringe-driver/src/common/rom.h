/* What the boot loader offers to the image: its cryptography and what is burnt into this unit. */
#ifndef SD_ROM_H
#define SD_ROM_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "image.h"

enum image_verdict { IMAGE_RIGHT, IMAGE_DAMAGED, IMAGE_OTHER_MODEL, IMAGE_UNSIGNED };
#define PIN_HASH_SIZE 32u

struct rom {
    const char *serial;
    /* Looks at an image of `size` bytes, in this order: layout, signature, model. */
    enum image_verdict (*check_image)(const void *image, size_t size);
    /* BLAKE2b of salt and PIN under the unit's secret: the EEPROM alone is no help to who guesses. */
    void (*hash_pin)(uint8_t hash[PIN_HASH_SIZE], const uint8_t salt[16], const char *pin);
};

/* For the image: the reserved seventh word of the boot loader's vector table, placed by app.ld. */
extern const struct rom *const ROM;
#endif
