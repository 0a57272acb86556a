/* The bench's way in: only the bench agent uses it, over a unix socket. Fixture only. */
#ifndef VP1_CONTROL_H
#define VP1_CONTROL_H

#define CONTROL_SOCKET "/run/vp1/bench.sock"

void control_start(void);
#endif
