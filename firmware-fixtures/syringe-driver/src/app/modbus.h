/* Modbus: requests and answers without their framing (Modbus application protocol V1.1b3). */
#ifndef SD_MODBUS_H
#define SD_MODBUS_H
#include <stddef.h>
#include <stdint.h>

#define MODBUS_LONGEST 253u

/* Answers a request of `length` bytes; returns the length of the answer, of at most MODBUS_LONGEST. */
size_t modbus_answer(const uint8_t *request, size_t length, uint8_t *answer);
#endif
