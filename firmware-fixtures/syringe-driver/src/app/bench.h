/* The bench's own port, on the emulator only: which weaknesses are on (README.md). No part of the product. */
#ifndef SD_BENCH_H
#define SD_BENCH_H

void bench_poll(void);
#endif
