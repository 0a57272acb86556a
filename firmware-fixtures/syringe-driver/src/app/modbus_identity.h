/* Function 0x2B/0x0E: read device identification, basic objects (Modbus application protocol V1.1b3, 6.21). */
#ifndef SD_MODBUS_IDENTITY_H
#define SD_MODBUS_IDENTITY_H
#include <stddef.h>
#include <stdint.h>

/* Returns the length of the answer; 0 when refused, with the exception code in `answer[0]`. */
size_t modbus_identify(const uint8_t *request, size_t length, uint8_t *answer);
#endif
