/* A restart that lets its answer out first. */
#ifndef SD_RESTART_H
#define SD_RESTART_H

void restart_soon(void);
void restart_poll(void);
#endif
