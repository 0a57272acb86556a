/* Modbus RTU on the second line: a frame ends by its length where that is known, else by silence. */
#ifndef SD_MODBUS_RTU_H
#define SD_MODBUS_RTU_H

void modbus_rtu_poll(void);
#endif
