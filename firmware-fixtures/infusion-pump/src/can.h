/* CAN: status broadcast and authenticated commands (VP1-ICD 4). */
#ifndef VP1_CAN_H
#define VP1_CAN_H
#include <stdbool.h>

void can_start(const char *interface);

/* Draws a new session and starts its counter anew. */
void can_new_session(void);

/* True if the status thread ticked within the last second (what the watchdog is fed for). */
bool can_status_alive(void);

/* Ticks of the status since the application started. */
unsigned can_status_count(void);
#endif
