/* Software update over the vendor line, and the trial of what it installed. */
#ifndef SD_UPDATE_H
#define SD_UPDATE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "text.h"

#define UPDATE_CHUNK 128u

void update_start(void);
/* Each answers NULL, or the reason of a refusal. */
const char *update_begin(uint32_t size);
const char *update_data(uint32_t offset, const uint8_t *bytes, size_t length);
const char *update_commit(struct text *answer);
const char *update_abort(void);
/* Writes a piece, ends a transfer that stalls, confirms a version on trial. */
void update_poll(void);
/* From the first byte until the image is written. */
bool update_running(void);
void update_put(struct text *text);
#endif
