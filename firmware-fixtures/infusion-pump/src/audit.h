/* The audit log: numbered records in memory and on the data partition (VP1-ICD 2.6). */
#ifndef VP1_AUDIT_H
#define VP1_AUDIT_H
#include <stddef.h>

#define AUDIT_KEPT 1000
#define AUDIT_LINE 160

/* Reads the log back; a torn last record is dropped. */
void audit_load(const char *path);

/* Adds a record. `user` and `detail` may be NULL for "-". Never waits for the disk. */
void audit(const char *user, const char *surface, const char *event, const char *result, const char *detail);

/* A refusal that an attacker can cause at will: at most ten records a second and event, the rest is counted. */
void audit_limited(const char *surface, const char *event, const char *detail);

/* Writes the counted rest of a second that is over. */
void audit_roll_over(void);

/* Empties the log (the weakness audit-deletable). */
void audit_clear(void);

/* Appends outstanding records to the file and syncs it (storage thread). */
void audit_write_outstanding(void);

/* Copies the last `count` records, oldest first, through `each`. */
void audit_last(unsigned count, void (*each)(void *arg, const char *line), void *arg);
#endif
