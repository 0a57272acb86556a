/* Update, restart, factory reset and first use over the API (VP1-ICD 11.3, 13, 14). */
#include <pthread.h>
#include <string.h>

#include "api.h"
#include "api_session.h"
#include "application.h"
#include "passwords.h"
#include "pump.h"
#include "store.h"
#include "unit.h"
#include "update.h"
#include "util.h"
#include "weaknesses.h"

#define WRONG_CODES_MAX 5
#define DELAY_MS 10000

static const char first_account[] = "admin";
static pthread_mutex_t setup_lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned wrong_codes;
static int64_t delay_until_ms;

static struct update_order order_of(const struct call *call)
{
    return (struct update_order){call->who.name, "api", api_header(call, "X-Bundle-Name")};
}

/* True if the update goes on; else it has been answered. */
static bool go_on(struct call *call, enum update_result result)
{
    if (result == UPDATE_BUSY)
        api_not_possible(call);
    else if (result == UPDATE_BAD_ARGUMENT)
        api_bad_argument(call);
    else if (result == UPDATE_TOO_LARGE)
        api_refuse(call, 413, "too large");
    return result == UPDATE_ACCEPTED;
}

void api_stream_begin(struct call *call, size_t length)
{
    struct update_order order = order_of(call);
    if (go_on(call, update_begin(&order, length, &call->transfer)))
        MHD_set_connection_option(call->connection, MHD_CONNECTION_OPTION_TIMEOUT, (unsigned)(UPDATE_STALL_MS / 1000));
    else
        call->transfer = -1;
}

bool api_stream_take(struct call *call, const void *bytes, size_t len)
{
    return update_write(call->transfer, bytes, len);
}

void api_stream_broken(struct call *call) { update_abort(call->transfer); }

static void put_update(struct call *call)
{
    bool whole = update_end(call->transfer);
    call->transfer = -1;
    if (whole)
        api_answer(call, 202, json_object());
    else
        api_refuse(call, 422, "transfer");
}

static void post_update(struct call *call)
{
    const char *url;
    struct update_order order = order_of(call);
    if (json_unpack_ex(call->body, NULL, JSON_STRICT, "{s:s}", "url", &url) != 0)
        api_bad_argument(call);
    else if (go_on(call, update_fetch(&order, url)))
        api_answer(call, 202, json_object());
}

static void get_update(struct call *call)
{
    struct update_status s;
    update_status(&s);
    api_answer(call, 200,
               json_pack("{s:s, s:s, s:s, s:s, s:s}", "state", s.state, "detail", s.detail, "slot", s.slot, "version",
                         s.version, "target", s.target));
}

static void post_reboot(struct call *call)
{
    if (json_object_size(call->body) > 0) {
        api_bad_argument(call);
        return;
    }
    api_record(call, "reset", "accepted", NULL);
    update_reboot();
    api_answer(call, 202, json_object());
}

static void post_factory_reset(struct call *call)
{
    const char *confirm;
    if (json_unpack_ex(call->body, NULL, JSON_STRICT, "{s:s}", "confirm", &confirm) != 0
        || strcmp(confirm, "ERASE " PUMP_SERIAL) != 0) {
        api_bad_argument(call);
        return;
    }
    if (update_busy()) {
        api_not_possible(call);
        return;
    }
    api_record(call, "factory-reset", "accepted", NULL);
    sessions_end();
    pump_stop();
    application_erase();
    api_answer(call, 202, json_object());
}

/* 0, or the status of the refusal. */
static unsigned check_code(const char *code)
{
    unsigned refused = 0;
    pthread_mutex_lock(&setup_lock);
    if (now_ms() < delay_until_ms) {
        refused = 423;
    } else if (!unit_setup_code_is(code)) {
        refused = 401;
        if (++wrong_codes >= WRONG_CODES_MAX) {
            wrong_codes = 0;
            delay_until_ms = now_ms() + DELAY_MS;
        }
    }
    pthread_mutex_unlock(&setup_lock);
    return refused;
}

/* Makes the first administrator; with the weakness setup-code-works-twice also where there is one. */
static bool make_first_account(const char *password)
{
    char hash[HASH_SIZE];
    if (!password_hash(password, hash))
        return false;
    struct records *records = store_edit();
    struct user *user = &records->user[0];
    for (int i = 0; i < ACCOUNTS_MAX; i++)
        if (strcmp(records->user[i].name, first_account) == 0)
            user = &records->user[i];
    strcpy(user->name, first_account);
    strcpy(user->hash, hash);
    user->role = ROLE_ADMIN;
    user->epoch = store_new_epoch();
    return store_commit();
}

static void post_setup(struct call *call)
{
    const char *code, *password;
    if (json_unpack_ex(call->body, NULL, JSON_STRICT, "{s:s, s:s}", "code", &code, "password", &password) != 0
        || !password_acceptable(password, first_account)) {
        api_bad_argument(call);
        return;
    }
    if (store_state() != STORE_FIRST_USE && !weak(WEAK_SETUP_CODE_WORKS_TWICE)) {
        api_not_possible(call);
        return;
    }
    unsigned refused = check_code(code);
    if (refused != 0) {
        api_record(call, "setup", "refused", NULL);
        api_refuse(call, refused, refused == 401 ? "login refused" : "account locked");
    } else if (!make_first_account(password)) {
        api_storage_failed(call);
    } else {
        api_record(call, "setup", "accepted", first_account);
        api_done(call);
    }
}

#define JSON_BODY .body = BODY_JSON, .body_max = API_JSON_MAX
const struct route routes_system[] = {
    {.method = "PUT", .path = "/api/update", .roles = ROLE_SERVICE, .body = BODY_STREAM, .body_max = UPDATE_BUNDLE_MAX,
     .run = put_update},
    {.method = "POST", .path = "/api/update", .roles = ROLE_SERVICE, JSON_BODY, .run = post_update},
    {.method = "GET", .path = "/api/update", .roles = ROLE_SERVICE | ROLE_ADMIN, .run = get_update},
    {.method = "POST", .path = "/api/reboot", .roles = ROLE_SERVICE | ROLE_ADMIN, JSON_BODY, .run = post_reboot},
    {.method = "POST", .path = "/api/factory-reset", .roles = ROLE_ADMIN, JSON_BODY, .run = post_factory_reset},
    {.method = "POST", .path = "/api/setup", JSON_BODY, .run = post_setup},
    {.method = NULL},
};
