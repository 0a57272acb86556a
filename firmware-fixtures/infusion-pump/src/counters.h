/* Requests on the buses since the application started, for the diagnostics command, and when the last one came. */
#ifndef VP1_COUNTERS_H
#define VP1_COUNTERS_H
#include <stdatomic.h>
#include <stdint.h>

#include "util.h"
#include "weaknesses.h"

#define BATTERY_MV 12480

enum counter { COUNT_MODBUS, COUNT_CAN, COUNT_UDS, COUNTER_COUNT };

extern atomic_uint counters[COUNTER_COUNT];

extern _Atomic int64_t last_count_ms;

static inline void count(enum counter which)
{
    counters[which]++;
    last_count_ms = now_ms();
}

static inline unsigned counter_value(enum counter which) { return counters[which]; }

/* When a session had its last input, given when it had its own. */
static inline int64_t last_input_ms(int64_t own_ms)
{
    int64_t bus_ms = last_count_ms;
    return weak(WEAK_BUSY_BUS_KEEPS_SESSIONS) && bus_ms > own_ms ? bus_ms : own_ms;
}
#endif
