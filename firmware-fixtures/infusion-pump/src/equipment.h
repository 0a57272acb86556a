/* What the pump gives the maker's service: logs and measurements of the equipment, never of a patient (VP1-ICD 11.3). */
#ifndef VP1_EQUIPMENT_H
#define VP1_EQUIPMENT_H
#include <stddef.h>

/* Their names, ended by NULL. */
extern const char *const equipment_names[];

/* Takes a sample of the telemetry (once a second). */
void equipment_sample(void);

/* The text of a file (the caller frees it), or NULL if there is none of that name. */
char *equipment_text(const char *name, size_t *len);
#endif
