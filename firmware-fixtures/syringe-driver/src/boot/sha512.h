/* SHA-512 (FIPS 180-4), the hash of Ed25519; Monocypher's core has BLAKE2b only. */
#ifndef SD_SHA512_H
#define SD_SHA512_H
#include <stddef.h>
#include <stdint.h>

struct sha512 {
    uint64_t state[8];
    uint8_t block[128];
    size_t length;
};

void sha512_begin(struct sha512 *sha);
void sha512_add(struct sha512 *sha, const void *bytes, size_t length);
void sha512_end(struct sha512 *sha, uint8_t digest[64]);
#endif
