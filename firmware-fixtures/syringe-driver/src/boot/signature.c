#include "signature.h"

#include "monocypher.h"
#include "sha512.h"

bool signature_right(const uint8_t signature[64], const uint8_t public_key[32], const void *message, size_t length)
{
    struct sha512 sha;
    uint8_t digest[64], reduced[32];
    sha512_begin(&sha);
    sha512_add(&sha, signature, 32);
    sha512_add(&sha, public_key, 32);
    sha512_add(&sha, message, length);
    sha512_end(&sha, digest);
    crypto_eddsa_reduce(reduced, digest);
    return crypto_eddsa_check_equation(signature, public_key, reduced) == 0;
}
