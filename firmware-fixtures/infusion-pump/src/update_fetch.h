/* Fetching a bundle over plain HTTP: the bundle is signed, the way it comes need not be trusted. */
#ifndef VP1_UPDATE_FETCH_H
#define VP1_UPDATE_FETCH_H
#include <stdbool.h>
#include <stddef.h>

#define FETCH_URL_MAX 200

/* http://192.0.2.1[:PORT]/PATH of printable characters, and nothing else. */
bool fetch_url_valid(const char *url);

/* Brings the bundle of a valid URL into `transfer` (update.h), in a thread of its own. */
void fetch_start(int transfer, const char *url);

/* The length of a transfer that was begun without knowing it; false if it is none that can be received. */
bool update_set_length(int transfer, size_t length);
#endif
