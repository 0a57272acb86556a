#define _GNU_SOURCE
#include "api.h"

#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api_dispatch.h"
#include "audit.h"
#include "keys.h"
#include "util.h"

#define PORT 443
#define CONNECTIONS_MAX 16
#define SILENCE_S 30
#define HEADERS_MAX 8192
#define POOL_SIZE 65536
#define STACK_SIZE (256 * 1024)
#define NICENESS 10 /* TLS must not take the processor from therapy, CAN and console */
#define DRAIN_MAX (4u << 20) /* a refused body is read to its end up to here, so that the answer arrives */
#define PRIORITIES                                                                                                       \
    "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:-KX-ALL:+ECDHE-ECDSA:-CIPHER-ALL:+AES-128-GCM:+AES-256-GCM:"             \
    "+CHACHA20-POLY1305:-MAC-ALL:+AEAD:-GROUP-ALL:+GROUP-X25519:+GROUP-SECP256R1:+GROUP-SECP384R1:"                      \
    "%SERVER_PRECEDENCE:%NO_TICKETS"

const char *api_header(const struct call *call, const char *name)
{
    return MHD_lookup_connection_value(call->connection, MHD_HEADER_KIND, name);
}

void api_bytes(struct call *call, void *bytes, size_t len, const char *type)
{
    call->status = bytes != NULL ? 200 : 500;
    call->answer = bytes;
    call->answer_len = len;
    call->type = type;
}

void api_answer(struct call *call, unsigned status, json_t *json)
{
    char *text = json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(12));
    api_bytes(call, text, text != NULL ? strlen(text) : 0, "application/json");
    if (text != NULL)
        call->status = status;
    json_decref(json);
}

void api_done(struct call *call) { api_answer(call, 200, json_object()); }

void api_refuse(struct call *call, unsigned status, const char *reason)
{
    api_answer(call, status, json_pack("{s:s}", "error", reason));
}

void api_bad_argument(struct call *call) { api_refuse(call, 400, "bad argument"); }
void api_not_possible(struct call *call) { api_refuse(call, 409, "not possible now"); }
void api_storage_failed(struct call *call) { api_refuse(call, 500, "storage"); }

void api_record(const struct call *call, const char *event, const char *result, const char *detail)
{
    audit(call->who.account >= 0 ? call->who.name : NULL, "api", event, result, detail);
}

static enum MHD_Result send_answer(struct call *call)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(call->answer_len, call->answer, MHD_RESPMEM_MUST_FREE);
    if (response == NULL)
        return MHD_NO;
    call->answer = NULL;
    MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    if (call->type != NULL)
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, call->type);
    enum MHD_Result queued = MHD_queue_response(call->connection, call->status, response);
    MHD_destroy_response(response);
    return queued;
}

static int64_t announced_length(const struct call *call)
{
    const char *text = api_header(call, MHD_HTTP_HEADER_CONTENT_LENGTH);
    if (text == NULL)
        return api_header(call, MHD_HTTP_HEADER_TRANSFER_ENCODING) != NULL ? -1 : 0;
    return strlen(text) > 12 ? INT64_MAX : strtoll(text, NULL, 10);
}

static struct call *new_call(struct MHD_Connection *connection, const char *path, const char *method)
{
    struct call *call = calloc(1, sizeof *call);
    if (call == NULL)
        return NULL;
    call->connection = connection;
    call->path = path;
    call->method = method;
    call->who.account = -1;
    call->transfer = -1;
    call->locks = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
    return call;
}

static enum MHD_Result begin(struct call *call)
{
    const union MHD_ConnectionInfo *headers =
        MHD_get_connection_info(call->connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    int64_t announced = announced_length(call);
    if (headers != NULL && headers->header_size > HEADERS_MAX)
        api_refuse(call, 431, "too large");
    else
        api_admit(call, announced);
    if (call->status != 0 && announced > (int64_t)DRAIN_MAX)
        return send_answer(call);
    return MHD_YES;
}

/* Keeps what is wanted of a body that is under way; what is refused already is thrown away. */
static enum MHD_Result take(struct call *call, const char *bytes, size_t *len)
{
    size_t most = call->route != NULL ? call->route->body_max : 0, n = *len;
    *len = 0;
    call->came += n;
    if (call->status != 0 || call->route->body == BODY_NONE)
        return call->came <= DRAIN_MAX ? MHD_YES : MHD_NO;
    if (call->route->body == BODY_STREAM)
        return api_stream_take(call, bytes, n) ? MHD_YES : MHD_NO;
    if (call->came > most) {
        api_refuse(call, 413, "too large");
        return MHD_YES;
    }
    uint8_t *grown = realloc(call->bytes, call->came);
    if (grown == NULL)
        return MHD_NO;
    call->bytes = grown;
    memcpy(grown + call->len, bytes, n);
    call->len += n;
    return MHD_YES;
}

static enum MHD_Result on_request(void *unused, struct MHD_Connection *connection, const char *path, const char *method,
                                  const char *version, const char *bytes, size_t *len, void **context)
{
    struct call *call = *context;
    (void)unused, (void)version;
    if (call == NULL) {
        *context = call = new_call(connection, path, method);
        return call != NULL ? begin(call) : MHD_NO;
    }
    if (*len > 0)
        return take(call, bytes, len);
    api_carry_out(call);
    return send_answer(call);
}

static void on_completed(void *unused, struct MHD_Connection *connection, void **context,
                         enum MHD_RequestTerminationCode why)
{
    struct call *call = *context;
    (void)unused, (void)connection, (void)why;
    if (call == NULL)
        return;
    if (call->transfer >= 0)
        api_stream_broken(call);
    json_decref(call->body);
    if (call->bytes != NULL)
        sodium_memzero(call->bytes, call->len); /* passwords may be in it */
    free(call->bytes);
    free(call->answer);
    free(call);
    *context = NULL;
}

static void on_connection(void *unused, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode what)
{
    (void)unused, (void)connection;
    if (what == MHD_CONNECTION_NOTIFY_STARTED)
        *context = calloc(1, sizeof(struct lock_table));
    else
        free(*context);
}

static int listener(void)
{
    struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(PORT)}; /* IPv4 as well */
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1;
    if (fd < 0)
        die("api");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&any, sizeof any) != 0 || listen(fd, CONNECTIONS_MAX) != 0)
        die("api");
    return fd;
}

/* A name with a NUL would end there for the tables, and name somebody else: left escaped, it names nothing. */
static size_t unescape(void *cls, struct MHD_Connection *connection, char *text)
{
    (void)cls, (void)connection;
    return strstr(text, "%00") == NULL ? MHD_http_unescape(text) : strlen(text);
}

/* Threads inherit the niceness of the one that starts them: this one is only for that. */
static void *start_thread(void *arg)
{
    setpriority(PRIO_PROCESS, (id_t)gettid(), NICENESS);
    struct MHD_Daemon *server = MHD_start_daemon(
        MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL | MHD_USE_TLS, PORT, NULL, NULL,
        on_request, NULL, MHD_OPTION_LISTEN_SOCKET, (MHD_socket)(intptr_t)arg, MHD_OPTION_HTTPS_MEM_KEY, keys_tls_key(),
        MHD_OPTION_HTTPS_MEM_CERT, keys_tls_certificate(), MHD_OPTION_HTTPS_PRIORITIES, PRIORITIES,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)SILENCE_S,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)POOL_SIZE, MHD_OPTION_THREAD_STACK_SIZE, (size_t)STACK_SIZE,
        MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_UNESCAPE_CALLBACK, unescape, NULL,
        MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, NULL, MHD_OPTION_END);
    if (server == NULL)
        die("api");
    return NULL;
}

void api_start(void)
{
    pthread_t thread;
    if (keys_tls_key() == NULL)
        return; /* the store is damaged: there is nobody to serve */
    errno = pthread_create(&thread, NULL, start_thread, (void *)(intptr_t)listener());
    if (errno != 0)
        die("api");
    pthread_join(thread, NULL);
}
