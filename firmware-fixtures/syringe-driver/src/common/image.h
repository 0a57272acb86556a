/* A firmware image as it is signed, sent and stored: header, payload, Ed25519 signature of both. */
#ifndef SD_IMAGE_H
#define SD_IMAGE_H
#include <stdint.h>

#define IMAGE_MAGIC 0x46324453u /* "SD2F" */
#define IMAGE_MODEL "SD-200"
#define SIGNATURE_SIZE 64u

/* Built in on purpose, for bundles that must be rolled back (fixture only). */
enum image_fault { FAULT_NONE, FAULT_SELF_TEST, FAULT_HANG };

struct image_header {
    uint32_t magic;
    uint32_t payload_size;
    char model[16];
    uint16_t major, minor, patch;
    uint16_t fault;
    uint8_t reserved[32];
};
_Static_assert(sizeof(struct image_header) == 64, "the payload's vector table is aligned to this");

/* One number that orders versions. */
static inline uint64_t image_version(const struct image_header *header)
{
    return (uint64_t)header->major << 32 | (uint64_t)header->minor << 16 | header->patch;
}

static inline uint32_t image_size(const struct image_header *header)
{
    return (uint32_t)sizeof *header + header->payload_size + SIGNATURE_SIZE;
}
#endif
