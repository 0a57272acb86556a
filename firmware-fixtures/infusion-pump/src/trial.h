/* The trial of an updated slot: what was begun before this start, and the self-test (VP1-ICD 13). */
#ifndef VP1_TRIAL_H
#define VP1_TRIAL_H
#include <stdbool.h>

#include "version.h"

#define TRIAL_WATCHDOG_S 10

/* Reads the boot loader's choice and the note of an update; before accounts and settings are read. */
void trial_load(void);

/* The slot in use, 'A' or 'B'. */
char trial_slot(void);

/* True while the slot in use is one that an update wrote and that has not passed its self-test yet. */
bool trial_running(void);

/* Why an update begun before this start did not succeed ("rolled-back", "interrupted"), or NULL. */
const char *trial_failure(char version[VERSION_TEXT_MAX]);

/* Notes on the data partition that the other slot is written, or written and to be tried, with `version`. */
void trial_expect(const char *phase, const char *version);
void trial_forget(void);

/* The slot in use is the one to stay with. */
void trial_passed(void);

/* Waits for the essential performance and tries the data partition; up to 5 s. */
bool trial_self_test(void);

/* True if the image has this fault (fixture only: bundles that must not stay). */
bool trial_image_fault(const char *name);
#endif
