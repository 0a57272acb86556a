/* The software version: that of the slot's image (/etc/vp1/version), not of the program. */
#ifndef VP1_VERSION_H
#define VP1_VERSION_H
#include <stdbool.h>
#include <stdint.h>

#define VERSION_FILE "/etc/vp1/version"
#define VERSION_TEXT_MAX 20

/* MAJOR.MINOR.PATCH, each 0 to 65535, as major << 32 | minor << 16 | patch; false if it is anything else. */
bool version_parse(const char *text, uint64_t *value);

/* Reads the file, or ends the application. */
void version_load(const char *path);

const char *version_text(void);
uint16_t version_major(void);
uint16_t version_minor(void);
uint16_t version_patch(void);
bool version_since(uint16_t major, uint16_t minor); /* this version or a later one */
#endif
