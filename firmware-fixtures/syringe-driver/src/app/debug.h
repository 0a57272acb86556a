/* The debug console: it tells, and listens to nobody. */
#ifndef SD_DEBUG_H
#define SD_DEBUG_H

void debug_print(const char *line);
#endif
