/* Modbus server on TCP 502 and on a serial line (VP1-ICD 6). */
#ifndef VP1_MODBUS_H
#define VP1_MODBUS_H
#include <stddef.h>
#include <stdint.h>

#define MODBUS_UNIT 1
#define MODBUS_PDU_MAX 253

/* Carries out one request PDU and writes the answer PDU; returns its length (never 0). */
size_t modbus_respond(const uint8_t *request, size_t len, uint8_t answer[MODBUS_PDU_MAX]);

void modbus_start(const char *serial_line);
void modbus_tcp_start(void);
void modbus_rtu_start(const char *tty);
#endif
