/* The data partition: one thread that writes audit records and therapy, so that nobody else waits for the disk. */
#ifndef VP1_STORAGE_H
#define VP1_STORAGE_H

/* Starts the storage thread (after audit_load and pump_load, and without the privileges of the start). */
void storage_start(void);

/* Something changed: write it soon. */
void storage_wake(void);

/* Writes everything outstanding and returns when it is on the disk; waits for storage_start. */
void storage_flush(void);
#endif
