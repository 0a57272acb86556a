/* Passwords: the rule and the hash (VP1-ICD 11.4). */
#ifndef VP1_PASSWORDS_H
#define VP1_PASSWORDS_H
#include <stdbool.h>

#include "records.h"

/* Whether it may be the password of `user` (the present one is not looked at). */
bool password_acceptable(const char *password, const char *user);

/* Printable ASCII of 10 to 64 characters: the rule of passphrases too. */
bool passphrase_acceptable(const char *passphrase);

/* A new hash with a salt of its own; false if there is no memory. */
bool password_hash(const char *password, char hash[HASH_SIZE]);

/* An empty password matches nothing. Costs the same whatever is wrong. */
bool password_matches(const char *password, const char *hash);
#endif
