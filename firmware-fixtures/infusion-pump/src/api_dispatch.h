/* From the request line to the handler: the checks of VP1-ICD 11.1 in their order. */
#ifndef VP1_API_DISPATCH_H
#define VP1_API_DISPATCH_H
#include "api.h"

/* Log-in, path, method, role, query and announced length (`announced` -1: not known); the call may be answered then. */
void api_admit(struct call *call, int64_t announced);

/* The body is complete: carries the request out. */
void api_carry_out(struct call *call);
#endif
