/* AES-128-CMAC, by nettle. */
#ifndef VP1_CMAC_H
#define VP1_CMAC_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

extern const uint8_t key_can[16], key_uds[16];

/* Compares the first `tag_len` bytes of the CMAC of `message` with `tag`, in constant time. */
bool cmac_matches(const uint8_t key[16], const void *message, size_t len, const uint8_t *tag, size_t tag_len);
#endif
