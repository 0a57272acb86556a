/*
 * Software update (VP1-ICD 13), the part without privileges: receives a bundle, has it verified and written by the
 * privileged updater (updater.c), and after the restart tries what was written. All functions may be called from any thread.
 */
#ifndef VP1_UPDATE_H
#define VP1_UPDATE_H
#include <stdbool.h>
#include <stddef.h>

#define UPDATE_BUNDLE_MAX (96u << 20) /* bytes */
#define UPDATE_STALL_MS 10000         /* a transfer that brings nothing for so long is given up */

enum update_result {
    UPDATE_ACCEPTED,
    UPDATE_BUSY,         /* one update at a time: 409 */
    UPDATE_BAD_ARGUMENT, /* URL or name: 400 */
    UPDATE_TOO_LARGE,    /* 413 */
};

/* Who asked, for the audit log. Strings are copied. */
struct update_order {
    const char *user, *surface;
    const char *name; /* of the bundle as the user calls it (X-Bundle-Name); decides nothing; may be NULL */
};

struct update_status {
    const char *state;  /* "idle", "receiving", "verifying", "writing", "ready", "refused", "trying", "failed" */
    char detail[32];    /* "-" where there is none */
    char slot[2];       /* in use: "A" or "B" */
    char version[20];   /* running */
    char target[20];    /* of the bundle, from "verifying" on; "-" before */
};

/*
 * Receiving an upload: begin, write as often as needed, then end or abort. `length` is the number of bytes to come.
 * On UPDATE_ACCEPTED `*transfer` names it for the other calls.
 */
enum update_result update_begin(const struct update_order *order, size_t length, int *transfer);

/* False: the transfer was given up (stalled, too much, no room); state is "refused", detail "transfer". */
bool update_write(int transfer, const void *bytes, size_t len);

/* All is here: verification begins in the background. False if it is not `length` bytes ("refused transfer"). */
bool update_end(int transfer);

/* The connection broke: "refused transfer". */
void update_abort(int transfer);

/* The pump fetches http://192.0.2.1[:PORT]/PATH itself, in the background. */
enum update_result update_fetch(const struct update_order *order, const char *url);

void update_status(struct update_status *into);

/* Saves everything and restarts the pump within 2 s; returns at once, so that the answer can still be sent. */
void update_reboot(void);

/* For main(): starts the privileged updater. Before privileges are dropped and before any thread is started. */
void update_start_updater(void);

/* For main(): what became of an update that was begun before this start; then the self-test, which marks the slot good. */
void update_start(void);

/* True while a bundle is received, verified or written. */
bool update_busy(void);
#endif
