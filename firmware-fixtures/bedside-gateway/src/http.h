/* Requests as the web server hands them on (SCGI), and answers. None of it needs the lock. */
#ifndef HTTP_H
#define HTTP_H
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* The web server takes 8 KiB of a request and names its path and query up to four times. */
#define HEAD_MAX 40960
#define BODY_MAX 16384

struct request {
    int fd;
    char head[HEAD_MAX]; /* names and values, each ended by a NUL */
    size_t head_len;
    size_t length; /* of the body, which is not read yet */
};

/* Reads the head; false when there is none. */
bool request_head(struct request *request, int fd);
/* The value of a name in the head; empty if it is not there. */
const char *request_value(const struct request *request, const char *name);
/* Reads the body of at most BODY_MAX bytes, and ends it by a NUL. */
bool request_body(struct request *request, char body[BODY_MAX + 1]);
/* Waits for bytes, at most ten seconds; 0 or less when no more come. */
long request_read(int fd, char *bytes, size_t size);
/* The value of the cookie, or of the field of a form or query; false if it is not there, twice, or too long. */
bool cookie_value(const char *cookies, const char *name, char *value, size_t size);
bool form_value(const char *form, const char *name, char *value, size_t size);
/* Undoes the escapes of a path; false when one is broken or hides a NUL. */
bool unescape(char *text, bool plus);
/* Answers, lets what is left of the request run dry, and closes. */
void answer(int fd, int status, json_t *body, const char *header);
#endif
