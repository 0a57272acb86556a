/* What the application and the privileged updater tell each other: one packet of text each. */
#ifndef VP1_UPDATER_H
#define VP1_UPDATER_H

#define UPDATER "/usr/sbin/vp1-updater"
#define UPDATE_FOLDER "/run/vp1-update"
#define UPDATE_BUNDLE UPDATE_FOLDER "/bundle-%u"
#define UPDATER_PACKET 256

/*
 * Requests: `install NUMBER NAME` (NAME is what the user calls the bundle, `-` if nothing), `good`, `reboot`.
 * Answers to install: `verifying`, `writing VERSION`, then `ready VERSION` or `refused REASON`; to good: `good`.
 */
#endif
