#define _GNU_SOURCE
#include "http.h"

#include <ctype.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define STALL_MS 10000
#define DRAIN_MAX (16u << 20)

long request_read(int fd, char *bytes, size_t size)
{
    struct pollfd input = {.fd = fd, .events = POLLIN};
    if (poll(&input, 1, STALL_MS) <= 0)
        return -1;
    return read(fd, bytes, size);
}

bool request_head(struct request *request, int fd)
{
    char c;
    size_t len = 0;
    memset(request, 0, sizeof *request);
    request->fd = fd;
    while (request_read(fd, &c, 1) == 1 && isdigit((unsigned char)c) && len < HEAD_MAX)
        len = len * 10 + (size_t)(c - '0');
    if (c != ':' || len >= HEAD_MAX)
        return false;
    while (request->head_len < len) {
        long n = request_read(fd, request->head + request->head_len, len - request->head_len);
        if (n <= 0)
            return false;
        request->head_len += (size_t)n;
    }
    request->length = strtoul(request_value(request, "CONTENT_LENGTH"), NULL, 10);
    return request_read(fd, &c, 1) == 1 && c == ',';
}

const char *request_value(const struct request *request, const char *name)
{
    const char *at = request->head, *end = at + request->head_len;
    while (at < end) {
        const char *value = at + strlen(at) + 1;
        if (value >= end)
            break;
        if (strcmp(at, name) == 0)
            return value;
        at = value + strlen(value) + 1;
    }
    return "";
}

bool request_body(struct request *request, char body[BODY_MAX + 1])
{
    size_t have = 0;
    while (have < request->length) {
        long n = request->length > BODY_MAX ? 0 : request_read(request->fd, body + have, request->length - have);
        if (n <= 0)
            return false;
        have += (size_t)n;
    }
    body[have] = '\0';
    return true;
}

bool unescape(char *text, bool plus)
{
    char *out = text;
    for (; *text != '\0'; text++, out++) {
        *out = *text == '+' && plus ? ' ' : *text;
        if (*text == '%') {
            if (!isxdigit((unsigned char)text[1]) || !isxdigit((unsigned char)text[2]))
                return false;
            char pair[3] = {text[1], text[2], '\0'};
            *out = (char)strtoul(pair, NULL, 16);
            if (*out == '\0')
                return false;
            text += 2;
        }
    }
    *out = '\0';
    return true;
}

static bool named_value(const char *text, const char *name, const char *separators, char *value, size_t size)
{
    size_t name_len = strlen(name);
    bool found = false;
    while (*text != '\0') {
        text += strspn(text, separators);
        size_t len = strcspn(text, separators);
        if (len > name_len && strncmp(text, name, name_len) == 0 && text[name_len] == '=') {
            size_t value_len = len - name_len - 1;
            if (found || value_len >= size)
                return false;
            memcpy(value, text + name_len + 1, value_len);
            value[value_len] = '\0';
            found = true;
        }
        text += len;
    }
    return found;
}

bool cookie_value(const char *cookies, const char *name, char *value, size_t size)
{
    return named_value(cookies, name, "; ", value, size);
}

bool form_value(const char *form, const char *name, char *value, size_t size)
{
    return named_value(form, name, "&", value, size) && unescape(value, true);
}

void answer(int fd, int status, json_t *body, const char *header)
{
    char bytes[4096], *text = json_dumps(body, JSON_COMPACT);
    size_t drained = 0;
    FILE *out = fdopen(fd, "r+");
    fprintf(out, "Status: %d\r\nContent-Type: application/json\r\nCache-Control: no-store\r\n%s", status, header);
    fprintf(out, "Content-Length: %zu\r\n\r\n%s", strlen(text), text);
    fflush(out);
    shutdown(fd, SHUT_WR);
    for (long n; drained < DRAIN_MAX && (n = request_read(fd, bytes, sizeof bytes)) > 0; drained += (size_t)n)
        ; /* an unread request would take the answer with it */
    fclose(out);
    free(text);
    json_decref(body);
}
