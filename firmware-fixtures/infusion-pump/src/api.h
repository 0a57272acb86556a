/* The management API over HTTPS (VP1-ICD 11): the server, and what a handler of a request has to work with. */
#ifndef VP1_API_H
#define VP1_API_H
#include <jansson.h>
#include <microhttpd.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "accounts.h"

#define API_JSON_MAX (16u << 10)
#define API_BACKUP_MAX (1u << 20)

struct call;

enum body { BODY_NONE, BODY_JSON, BODY_BYTES, BODY_STREAM };

/* One row of the table of resources. */
struct route {
    const char *method;
    const char *path;  /* a final '*' stands for a name, given to the handler as `tail` */
    unsigned roles;    /* 0: no log-in needed */
    enum body body;
    size_t body_max;
    bool query;        /* may have one */
    bool (*there)(void); /* NULL: always */
    void (*run)(struct call *call);
};

/* One request. A handler answers exactly once, by one of the functions below. */
struct call {
    struct MHD_Connection *connection;
    const char *method, *path;
    const struct route *route;
    const char *tail;
    struct identity who;      /* account -1: nobody */
    struct lock_table *locks; /* of the connection */
    json_t *body;             /* BODY_JSON */
    uint8_t *bytes;           /* BODY_JSON and BODY_BYTES as they came */
    size_t len;
    int transfer;             /* BODY_STREAM: of update.h; -1: none */

    size_t came;              /* bytes of body so far, kept or not */
    unsigned status;          /* of the answer; 0: not answered yet */
    const char *type;
    void *answer;
    size_t answer_len;
};

void api_answer(struct call *call, unsigned status, json_t *json); /* takes `json` over */
void api_done(struct call *call);                                  /* 200 {} */
void api_refuse(struct call *call, unsigned status, const char *reason);
void api_bytes(struct call *call, void *bytes, size_t len, const char *type); /* takes `bytes` over */

void api_bad_argument(struct call *call);
void api_not_possible(struct call *call);
void api_storage_failed(struct call *call);

/* Records something the caller did; `detail` may be NULL. */
void api_record(const struct call *call, const char *event, const char *result, const char *detail);

const char *api_header(const struct call *call, const char *name);

/* The tables; each ends with a row without a method. */
extern const struct route routes_session[], routes_device[], routes_users[], routes_patients[], routes_files[],
    routes_system[];

/* BODY_STREAM (the update): each is called in turn. */
void api_stream_begin(struct call *call, size_t length);
bool api_stream_take(struct call *call, const void *bytes, size_t len);
void api_stream_broken(struct call *call);

/* Opens TCP 443; before privileges are dropped. */
void api_start(void);
#endif
