/* The unit's private keys for TLS and SSH: sealed on the medium, made anew in first use (VP1-ICD 11.5, 14). */
#ifndef VP1_KEYS_H
#define VP1_KEYS_H
#include <jansson.h>
#include <stdbool.h>

/* Takes them from `delivered` where given, else from the sealed file at `path`, else makes them if `fresh`. */
bool keys_load(const char *path, const json_t *delivered, bool fresh);

/* Puts the SSH host key where the SSH server reads it: in memory, for root only. */
void keys_publish_ssh(void);

/* PEM; NULL if there is none. */
const char *keys_tls_key(void);
const char *keys_tls_certificate(void);
#endif
