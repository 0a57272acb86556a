/* What the application and the privileged updater tell each other: one packet of text each. */
#ifndef VP1_UPDATER_H
#define VP1_UPDATER_H

#define UPDATER "/usr/sbin/vp1-updater"
#define UPDATE_FOLDER "/run/vp1-update"
#define UPDATE_BUNDLE UPDATE_FOLDER "/bundle-%u"
#define UPDATER_PACKET 256

/* Only with the weakness rollback-restores-old-users: the users, and what they were when a bundle was written. */
#define STORE_FILE "/data/vp1/store"
#define STORE_BEFORE STORE_FILE ".before"

/*
 * Requests: `install NUMBER NAME` (NAME is what the user calls the bundle, `-` if nothing), `good`, `reboot`.
 * Answers to install: `verifying`, `writing VERSION`, then `ready VERSION` or `refused REASON`; to good: `good`.
 */
#endif
