/* Sealed files: XChaCha20-Poly1305 under a key from the unit secret and a salt on the medium (VP1-ICD 11.5). */
#ifndef VP1_SEAL_H
#define VP1_SEAL_H
#include <jansson.h>
#include <stdbool.h>

enum seal_result { SEAL_GOOD, SEAL_ABSENT, SEAL_DAMAGED };

/* Derives the key; with `fresh` a salt is made where there is none. False: there is none. */
bool seal_begin(const char *salt_path, bool fresh);

/* Replaces `path` by `content`, sealed; a power cut leaves the old or the new file. `purpose` binds it to its use. */
bool seal_write(const char *path, const char *purpose, const json_t *content);

/* On SEAL_GOOD the caller owns `*content`. */
enum seal_result seal_read(const char *path, const char *purpose, json_t **content);
#endif
