/* The application as a whole. */
#ifndef VP1_APPLICATION_H
#define VP1_APPLICATION_H

/* Saves everything and ends; the supervisor starts the application again. */
void application_restart(void) __attribute__((noreturn));
#endif
