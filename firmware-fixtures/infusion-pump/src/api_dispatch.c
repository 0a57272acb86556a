#include "api_dispatch.h"

#include <stdio.h>
#include <string.h>

#include "api_session.h"
#include "audit.h"
#include "store.h"
#include "weaknesses.h"

#define DENIED_MAX 47

static const struct route *const tables[] = {routes_session,  routes_device, routes_users,
                                             routes_patients, routes_files,  routes_system};

static const char *tail_of(const struct route *route, const char *path)
{
    size_t len = strlen(route->path) - 1;
    if (route->path[len] != '*')
        return strcmp(route->path, path) == 0 ? path + strlen(path) : NULL;
    if (strncmp(route->path, path, len) != 0 || path[len] == '\0')
        return NULL;
    if (strchr(path + len, '/') != NULL && !weak(WEAK_PATH_TRAVERSAL_IN_EXPORT_NAME))
        return NULL;
    return path + len;
}

/* True if the path exists; `route` is set if the method does too. */
static bool find_route(struct call *call)
{
    bool known = false;
    for (size_t t = 0; t < sizeof tables / sizeof tables[0]; t++)
        for (const struct route *route = tables[t]; route->method != NULL; route++) {
            const char *tail = tail_of(route, call->path);
            if (tail == NULL || (route->there != NULL && !route->there()))
                continue;
            known = true;
            if (strcmp(route->method, call->method) == 0) {
                call->route = route;
                call->tail = tail;
                return true;
            }
        }
    return known;
}

static bool needs_no_login(const char *path)
{
    return strcmp(path, "/api/login") == 0 || strcmp(path, "/api/setup") == 0;
}

static bool logged_in(struct call *call)
{
    static const char scheme[] = "Bearer ";
    const char *header = api_header(call, MHD_HTTP_HEADER_AUTHORIZATION);
    return header != NULL && strncmp(header, scheme, sizeof scheme - 1) == 0
           && session_check(header + sizeof scheme - 1, &call->who);
}

static bool permitted(const struct call *call)
{
    unsigned roles = call->route->roles;
    if (weak(WEAK_ROLE_UNCHECKED) && strcmp(call->path, "/api/config") == 0)
        roles |= ROLE_SERVICE;
    if (weak(WEAK_SERVICE_READS_PATIENTS) && strcmp(call->path, "/api/patients") == 0 && call->route->body == BODY_NONE)
        roles |= ROLE_SERVICE;
    if (weak(WEAK_UPDATE_BY_ANY_ROLE) && strcmp(call->path, "/api/update") == 0)
        roles = EVERYBODY;
    return roles == 0 || (roles & call->who.role) != 0;
}

static void record_denied(const struct call *call)
{
    char detail[DENIED_MAX + 1];
    snprintf(detail, sizeof detail, "%s-%s", call->method, call->path);
    for (char *c = detail; *c != '\0'; c++)
        if (strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._/-", *c) == NULL)
            *c = '_';
    api_record(call, "denied", "refused", detail);
}

void api_admit(struct call *call, int64_t announced)
{
    bool is_public = needs_no_login(call->path);
    bool first_use = store_state() == STORE_FIRST_USE;
    if (first_use ? strcmp(call->path, "/api/setup") != 0 : !is_public && !logged_in(call))
        api_refuse(call, 401, "not logged in");
    else if (!find_route(call))
        api_refuse(call, 404, "not found");
    else if (call->route == NULL)
        api_refuse(call, 405, "method not allowed");
    else if (!permitted(call)) {
        record_denied(call);
        api_refuse(call, 403, "not permitted");
    } else if (!call->route->query
               && MHD_get_connection_values(call->connection, MHD_GET_ARGUMENT_KIND, NULL, NULL) > 0)
        api_bad_argument(call);
    else if (call->route->body != BODY_NONE && announced > (int64_t)call->route->body_max)
        api_refuse(call, 413, "too large");
    else if (call->route->body == BODY_STREAM) {
        if (announced <= 0)
            api_bad_argument(call);
        else
            api_stream_begin(call, (size_t)announced);
    }
}

void api_carry_out(struct call *call)
{
    if (call->status != 0)
        return;
    if (call->route->body == BODY_JSON) {
        call->body = call->len == 0 ? json_object()
                                    : json_loadb((const char *)call->bytes, call->len, JSON_REJECT_DUPLICATES, NULL);
        if (!json_is_object(call->body)) {
            api_bad_argument(call);
            return;
        }
    }
    call->route->run(call);
}
