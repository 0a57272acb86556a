/* UDS over the kernel's ISO-TP (VP1-ICD 5). */
#ifndef VP1_UDS_H
#define VP1_UDS_H

void uds_start(const char *interface);
#endif
