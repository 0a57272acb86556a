/* The audit log: the last 256 records, numbered without gaps, in the EEPROM. */
#ifndef SD_AUDIT_H
#define SD_AUDIT_H
#include <stdbool.h>
#include <stdint.h>

#include "settings.h"
#include "text.h"

enum surface { SURFACE_VENDOR, SURFACE_MODBUS, SURFACE_SYSTEM };
enum audit_result { ACCEPTED, REFUSED, LOCKED };
#define AUDIT_DETAIL 12u

void audit_load(void);
/* `detail` is cut at AUDIT_DETAIL characters; "-" for none. */
void audit(enum surface surface, enum account user, const char *event, enum audit_result result, const char *detail);
/* The same for refusals, which can be caused at will: ten a second, the rest counted in one record more. */
void audit_refusal(enum surface surface, enum account user, const char *event, enum audit_result result,
                   const char *detail);
void audit_poll(void);
/* Numbers of the oldest and the newest record; false when there is none. */
bool audit_range(uint32_t *oldest, uint32_t *newest);
/* One record as `name=value` words; false when it is damaged. */
bool audit_put(struct text *text, uint32_t number);
#endif
