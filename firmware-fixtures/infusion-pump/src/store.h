/* The sealed store: users, patients and configuration, in memory and in one file (VP1-ICD 11.5). */
#ifndef VP1_STORE_H
#define VP1_STORE_H
#include <stdbool.h>
#include <stdint.h>

#include "records.h"

enum store_state { STORE_READY, STORE_FIRST_USE, STORE_DAMAGED };

/*
 * Reads the store and the unit's keys, or makes them: from the delivery at the very first start, anew in first use.
 * `folder` is on the data partition. Before privileges are dropped.
 */
void store_load(const char *folder);

/* Hands the configuration on to the pump, and a set rate that a restore left to do; after pump_load. */
void store_use_settings(void);

/* First use: no account yet. */
enum store_state store_state(void);

/* A look at what holds now, for a moment; nobody can change it until store_done. */
const struct records *store_look(void);
void store_done(void);

/*
 * A change: work on the copy, then commit it (writes it to the disk; false: it could not be written, nothing has
 * changed) or leave it. One at a time; others wait.
 */
struct records *store_edit(void);
bool store_commit(void);
void store_leave(void);

/* Like store_commit, but with configuration and set rate in the same atomic step (restore). */
bool store_commit_all(const struct pump_config *config, uint16_t set_rate);

/* Writes the configuration if it changed since (called by the storage thread). */
void store_save_if_due(void);

/* A number never given before, for struct user. */
uint32_t store_new_epoch(void);
#endif
