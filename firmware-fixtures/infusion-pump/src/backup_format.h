/* The layout of a backup and its key (VP1-ICD 12), for making and reading. */
#ifndef VP1_BACKUP_FORMAT_H
#define VP1_BACKUP_FORMAT_H
#include <sodium.h>

#define BACKUP_MAGIC "VP1BKP\0\1"
#define BACKUP_MAGIC_SIZE 8
#define BACKUP_FAMILY "VP-1"
#define BACKUP_HEADER_AT 10
#define BACKUP_SALT_SIZE crypto_pwhash_SALTBYTES
#define BACKUP_NONCE_SIZE crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define BACKUP_TAG_SIZE crypto_aead_xchacha20poly1305_ietf_ABYTES
#define BACKUP_SECTION_HEAD 5 /* type, length */
#define BACKUP_SECTIONS 4
#define BACKUP_SUM_SIZE 32
#define BACKUP_KEY_SIZE 64 /* encryption, then BLAKE2b */
#define BACKUP_PASSES 1
#define BACKUP_MEMORY (8u << 20)

enum backup_section { SECTION_CONFIG = 1, SECTION_USERS, SECTION_PATIENTS, SECTION_THERAPY };

_Static_assert(BACKUP_SALT_SIZE == 16 && BACKUP_NONCE_SIZE == 24 && BACKUP_TAG_SIZE == 16, "as VP1-ICD 12 says");

static inline int backup_key(unsigned char key[BACKUP_KEY_SIZE], const char *passphrase, const unsigned char *salt)
{
    return crypto_pwhash(key, BACKUP_KEY_SIZE, passphrase, strlen(passphrase), salt, BACKUP_PASSES, BACKUP_MEMORY,
                         crypto_pwhash_ALG_ARGON2ID13);
}
#endif
