/* The application as a whole. */
#ifndef VP1_APPLICATION_H
#define VP1_APPLICATION_H

/* Saves everything and ends; the supervisor starts the application again. */
void application_restart(void) __attribute__((noreturn));

/* Factory reset: ends soon, after the answer has left; the supervisor then erases the data partition and restarts the pump. */
void application_erase(void);

#define EXIT_ERASE 3 /* what tells the supervisor so */
#endif
