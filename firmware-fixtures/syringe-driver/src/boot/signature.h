/* Ed25519 (RFC 8032, 5.1.7): SHA-512 here, the equation by Monocypher. */
#ifndef SD_SIGNATURE_H
#define SD_SIGNATURE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool signature_right(const uint8_t signature[64], const uint8_t public_key[32], const void *message, size_t length);
#endif
