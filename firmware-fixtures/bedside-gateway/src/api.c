/* The management API: who may call what, and the device's own resources. */
#define _GNU_SOURCE
#include "api.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EVERYONE (CLINICIAN | TECHNICIAN | ADMINISTRATOR)

void refuse(struct call *call, int status, const char *reason)
{
    static const struct {
        int status;
        const char *reason;
    } REASONS[] = {{400, "bad argument"}, {401, "not logged in"}, {403, "not permitted"}, {404, "not found"},
                   {405, "method not allowed"}, {409, "not possible now"}, {413, "too large"}, {423, "account locked"},
                   {429, "too many sessions"}, {500, "storage"}};
    for (size_t i = 0; reason == NULL && i < sizeof REASONS / sizeof *REASONS; i++)
        if (REASONS[i].status == status)
            reason = REASONS[i].reason;
    call->status = status;
    json_decref(call->answer);
    call->answer = json_pack("{s:s}", "error", reason);
}

static void status(struct call *call)
{
    call->answer = json_pack("{s:s, s:s, s:s, s:I, s:s}", "model", MODEL, "serial", SERIAL, "version", version(),
                             "uptime_ms", (json_int_t)now_ms(), "ward", ward);
}

static void devices(struct call *call)
{
    call->answer = json_pack("{s:[{s:s, s:s}, {s:s, s:s}]}", "devices", "bed", "7-1", "kind", "infusion pump", "bed",
                             "7-2", "kind", "patient monitor");
}

static void diagnostics(struct call *call)
{
    long pages = sysconf(_SC_AVPHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    call->answer = json_pack("{s:I}", "memory_free", (json_int_t)pages * size);
}

static void config(struct call *call) { call->answer = json_pack("{s:s}", "ward_name", ward); }

static void set_config(struct call *call)
{
    const char *name;
    char before[TEXT_MAX];
    if (json_unpack_ex(call->json, NULL, JSON_STRICT, "{s:s}", "ward_name", &name) != 0 || *name == '\0'
        || strlen(name) >= TEXT_MAX)
        return refuse(call, 400, NULL);
    for (const unsigned char *c = (const unsigned char *)name; *c != '\0'; c++)
        if (*c < 0x20 || *c == 0x7f || (*c == 0xc2 && c[1] < 0xa0))
            return refuse(call, 400, NULL); /* control characters, those of two bytes too */
    strcpy(before, ward);
    strcpy(ward, name);
    if (weak("command-injection-in-ward-name")) {
        char command[TEXT_MAX + 16];
        snprintf(command, sizeof command, "echo \"%s\"", name);
        FILE *shell = popen(command, "re");
        if (shell != NULL && fgets(ward, sizeof ward, shell) != NULL)
            ward[strcspn(ward, "\n")] = '\0';
        if (shell != NULL)
            pclose(shell);
    }
    if (!store_save()) {
        strcpy(ward, before);
        return refuse(call, 500, NULL);
    }
    call->event = "config";
    strcpy(call->detail, "ward_name");
}

static void audit_log(struct call *call)
{
    char text[8] = "20", *end;
    const char *query = request_value(&call->request, "QUERY_STRING");
    if (*query != '\0' && (strncmp(query, "last=", 5) != 0 || !form_value(query, "last", text, sizeof text)))
        return refuse(call, 400, NULL);
    unsigned long last = strtoul(text, &end, 10);
    if (*end != '\0' || last < 1 || last > 200)
        return refuse(call, 400, NULL);
    call->answer = json_pack("{s:o}", "records", audit_last(last));
}

static void reboot(struct call *call)
{
    if (json_object_size(call->json) > 0)
        return refuse(call, 400, NULL);
    reboot_asked = true;
    call->status = 202;
    call->event = "reset";
}

static void log_out(struct call *call)
{
    if (!weak("token-survives-log-off"))
        session_close(call->session, "-");
    call->session = NULL;
}

static const struct route {
    const char *method, *path; /* a path that ends with a slash takes a name */
    unsigned roles;
    handler handle;
} ROUTES[] = {
    {"POST", "/api/logout", EVERYONE, log_out},
    {"GET", "/api/status", EVERYONE, status},
    {"GET", "/api/devices", CLINICIAN | TECHNICIAN, devices},
    {"GET", "/api/diagnostics", TECHNICIAN, diagnostics},
    {"GET", "/api/config", ADMINISTRATOR, config},
    {"PUT", "/api/config", ADMINISTRATOR, set_config},
    {"GET", "/api/audit", ADMINISTRATOR, audit_log},
    {"GET", "/api/users", ADMINISTRATOR, api_users},
    {"POST", "/api/users", ADMINISTRATOR, api_user_add},
    {"PUT", "/api/users/", ADMINISTRATOR, api_user_change},
    {"DELETE", "/api/users/", ADMINISTRATOR, api_user_remove},
    {"POST", "/api/unlock", ADMINISTRATOR, api_unlock},
    {"PUT", "/api/password", EVERYONE, api_own_password},
    {"PUT", "/api/update", TECHNICIAN, api_update_upload},
    {"POST", "/api/update", TECHNICIAN, api_update_fetch},
    {"GET", "/api/update", TECHNICIAN | ADMINISTRATOR, api_update_status},
    {"POST", "/api/reboot", TECHNICIAN | ADMINISTRATOR, reboot},
};

/* The route of a request; NULL with 404 or 405. */
static const struct route *route_of(struct call *call, const char *method, char *path)
{
    bool known = false;
    for (size_t i = 0; i < sizeof ROUTES / sizeof *ROUTES; i++) {
        size_t len = strlen(ROUTES[i].path);
        bool takes_name = ROUTES[i].path[len - 1] == '/';
        if (takes_name ? strncmp(path, ROUTES[i].path, len) != 0 || path[len] == '\0' || strchr(path + len, '/')
                       : strcmp(path, ROUTES[i].path) != 0)
            continue;
        known = true;
        if (strcmp(method, ROUTES[i].method) != 0)
            continue;
        if (takes_name && (strlen(path + len) >= sizeof call->name || !unescape(strcpy(call->name, path + len), false)))
            break;
        return &ROUTES[i];
    }
    refuse(call, known ? 405 : 404, NULL);
    return NULL;
}

static bool permitted(const struct call *call, const struct route *route)
{
    if (weak("role-unchecked") && call->account->role == TECHNICIAN && strcmp(route->path, "/api/config") == 0)
        return true;
    if (weak("update-by-any-role") && strcmp(route->path, "/api/update") == 0)
        return true;
    return (route->roles & call->account->role) != 0;
}

static void log_in(struct call *call, char *cookie, size_t size)
{
    char user[PASSWORD_MAX * 3 + 1] = "", password[PASSWORD_MAX * 3 + 1] = "";
    form_value(call->body, "user", user, sizeof user);
    form_value(call->body, "password", password, sizeof password);
    struct session *session;
    switch (session_open(user, password, "api", &session)) {
    case LOG_IN_ACCEPTED:
        snprintf(cookie, size, "Set-Cookie: sid=%s; Path=/api; Secure; HttpOnly; SameSite=Strict\r\n", session->token);
        call->answer = json_pack("{s:s}", "role", role_name(account_of(user)->role));
        return;
    case LOG_IN_LOCKED:
        return refuse(call, 423, NULL);
    case LOG_IN_FULL:
        return refuse(call, 429, NULL);
    case LOG_IN_REFUSED:
        return refuse(call, 401,
                      weak("user-enumeration") && account_of(user) == NULL ? "unknown user" : "login refused");
    }
}

static void dispatch(struct call *call, char *path, const char *method)
{
    char token[80] = "", what[64];
    cookie_value(request_value(&call->request, "HTTP_COOKIE"), "sid", token, sizeof token);
    call->session = session_find(token, true);
    if (call->session == NULL)
        return refuse(call, 401, NULL);
    call->account = account_of(call->session->user);
    const struct route *route = route_of(call, method, path);
    if (route == NULL)
        return;
    if (!permitted(call, route)) {
        snprintf(what, sizeof what, "%s-%s", method, path);
        audit(call->session->user, "api", "denied", "refused", what);
        return refuse(call, 403, NULL);
    }
    if (route->handle != api_update_upload) {
        gateway_unlock();
        bool whole = request_body(&call->request, call->body);
        gateway_lock();
        /* while it came, the session may have ended */
        if (!whole || (call->session = session_find(token, false)) == NULL)
            return refuse(call, whole ? 401 : 413, NULL);
        call->account = account_of(call->session->user);
        call->json = *call->body == '\0' ? json_object() : json_loads(call->body, JSON_REJECT_DUPLICATES, NULL);
        if (!json_is_object(call->json))
            return refuse(call, 400, NULL);
    }
    char user[USER_MAX];
    strcpy(user, call->session->user);
    route->handle(call);
    if (call->status < 300 && call->event != NULL)
        audit(user, "api", call->event, "accepted", call->detail);
}

void *api_serve(void *fd)
{
    struct call *call = calloc(1, sizeof *call);
    char path[256], cookie[160] = "";
    if (call == NULL || !request_head(&call->request, (int)(intptr_t)fd)) {
        close((int)(intptr_t)fd);
        free(call);
        return NULL;
    }
    const char *uri = request_value(&call->request, "REQUEST_URI");
    const char *method = request_value(&call->request, "REQUEST_METHOD");
    size_t len = strcspn(uri, "?");
    call->status = 200;
    snprintf(path, sizeof path, "%.*s", (int)(len < sizeof path ? len : 0), uri);
    bool logging_in = strcmp(path, "/api/login") == 0 && strcmp(method, "POST") == 0;
    bool whole = !logging_in || request_body(&call->request, call->body);
    gateway_lock();
    if (!whole)
        refuse(call, 413, NULL);
    else if (logging_in)
        log_in(call, cookie, sizeof cookie);
    else
        dispatch(call, path, method);
    gateway_unlock();
    json_decref(call->json);
    answer(call->request.fd, call->status, call->answer != NULL ? call->answer : json_object(), cookie);
    free(call);
    return NULL;
}
