/* Requests seen since the application started, for the diagnostics command. */
#ifndef VP1_COUNTERS_H
#define VP1_COUNTERS_H
#include <stdatomic.h>

#define BATTERY_MV 12480

enum counter { COUNT_MODBUS, COUNT_CAN, COUNT_UDS, COUNTER_COUNT };

extern atomic_uint counters[COUNTER_COUNT];

static inline void count(enum counter which) { counters[which]++; }
static inline unsigned counter_value(enum counter which) { return counters[which]; }
#endif
