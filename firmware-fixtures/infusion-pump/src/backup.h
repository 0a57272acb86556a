/* Backups: their making and their taking apart (VP1-ICD 12). No I/O. */
#ifndef VP1_BACKUP_H
#define VP1_BACKUP_H
#include <stddef.h>
#include <stdint.h>

#include "records.h"

/* What a backup holds. */
struct backup {
    struct pump_config config;
    struct records records; /* epochs are new */
    uint16_t set_rate;      /* 0.1 ml/h */
};

/* The bytes of a backup (the caller frees them), or NULL if there is no memory. */
uint8_t *backup_make(const struct backup *content, const char *passphrase, size_t *len);

/*
 * Verifies and takes apart. NULL if it is good, else the reason for the refusal. `each` is called after each section
 * only with the weakness restore-writes-before-verify.
 */
const char *backup_read(const uint8_t *bytes, size_t len, const char *passphrase, struct backup *into,
                        void (*each)(const struct backup *so_far, int section));
#endif
