#include "cmac.h"

#include <nettle/cmac.h>
#include <nettle/memops.h>

/* Keys of this one unit, as delivered to the bench (VP1-ICD 4.3). */
const uint8_t key_can[16] = {0x6b, 0x1f, 0x0c, 0x92, 0xa7, 0xe8, 0x4d, 0x35, 0xb8, 0xc0, 0x5f, 0x1e, 0x93, 0xd2, 0x64, 0x7a};
const uint8_t key_uds[16] = {0xc4, 0xd8, 0x1e, 0x77, 0x30, 0xfa, 0x4b, 0x62, 0x95, 0xe3, 0xa8, 0x15, 0x0d, 0x6c, 0x7b, 0x2f};

bool cmac_matches(const uint8_t key[16], const void *message, size_t len, const uint8_t *tag, size_t tag_len)
{
    struct cmac_aes128_ctx ctx;
    uint8_t digest[16];
    cmac_aes128_set_key(&ctx, key);
    cmac_aes128_update(&ctx, len, message);
    cmac_aes128_digest(&ctx, sizeof digest, digest);
    return nettle_memeql_sec(digest, tag, tag_len) != 0;
}
