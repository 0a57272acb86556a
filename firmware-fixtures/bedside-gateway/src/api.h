/* What the files of the API share. */
#ifndef API_H
#define API_H
#include "gateway.h"
#include "http.h"

struct call {
    struct request request;
    char body[BODY_MAX + 1];
    json_t *json;  /* of the body; an empty object where there is none */
    char name[64]; /* the last part of the path, where it is an argument */
    struct session *session;
    struct account *account;
    int status;
    json_t *answer; /* NULL: an empty object, or the error of the status */
    char detail[64];
    const char *event; /* recorded with `detail` when the call is accepted */
};

typedef void (*handler)(struct call *call);

/* Refuses the call; the reason is that of the status unless one is given. */
void refuse(struct call *call, int status, const char *reason);

void api_users(struct call *call);
void api_user_add(struct call *call);
void api_user_change(struct call *call);
void api_user_remove(struct call *call);
void api_unlock(struct call *call);
void api_own_password(struct call *call);
void api_update_upload(struct call *call);
void api_update_fetch(struct call *call);
void api_update_status(struct call *call);
#endif
