/* Accounts and passwords over the API (VP1-ICD 11.3, 11.4). */
#include <string.h>

#include "api.h"
#include "passwords.h"
#include "store.h"
#include "weaknesses.h"

static void get_users(struct call *call)
{
    json_t *list = json_array();
    const struct records *records = store_look();
    for (int i = 0; i < ACCOUNTS_MAX; i++) {
        const struct user *u = &records->user[i];
        if (u->name[0] != '\0')
            json_array_append_new(list, json_pack("{s:s, s:s, s:b}", "user", u->name, "role", role_name(u->role), "locked",
                                                  account_locked(i)));
    }
    store_done();
    api_answer(call, 200, json_pack("{s:o}", "users", list));
}

static struct user *find(struct records *records, const char *name)
{
    for (int i = 0; i < ACCOUNTS_MAX; i++)
        if (strcmp(records->user[i].name, name) == 0)
            return &records->user[i];
    return NULL;
}

/* Commits and answers. */
static void finish(struct call *call, unsigned status, const char *event, const char *account)
{
    if (!store_commit()) {
        api_storage_failed(call);
        return;
    }
    api_record(call, event, "accepted", account);
    api_answer(call, status, json_object());
}

static void refuse_edit(struct call *call, unsigned status, const char *reason)
{
    store_leave();
    api_refuse(call, status, reason);
}

static void post_user(struct call *call)
{
    const char *name, *role, *password;
    struct user fresh = {0};
    if (json_unpack_ex(call->body, NULL, JSON_STRICT, "{s:s, s:s, s:s}", "user", &name, "role", &role, "password",
                       &password) != 0
        || !account_name_good(name) || role_of(role) == 0 || !password_acceptable(password, name)) {
        api_bad_argument(call);
        return;
    }
    strcpy(fresh.name, name);
    fresh.role = role_of(role);
    fresh.epoch = store_new_epoch();
    if (!password_hash(password, fresh.hash)) {
        api_storage_failed(call);
        return;
    }
    struct records *records = store_edit();
    struct user *place = find(records, "");
    if (place == NULL || find(records, name) != NULL) {
        refuse_edit(call, 409, "not possible now");
        return;
    }
    *place = fresh;
    account_unlock((int)(place - records->user), NULL); /* of whoever had this place before */
    finish(call, 201, "user-add", name);
}

/* Puts a new password into `user`; the hash is made outside of any lock by the caller. */
static void use_password(struct user *user, const char *hash)
{
    strcpy(user->hash, hash);
    if (!weak(WEAK_TOKEN_SURVIVES_PASSWORD_CHANGE))
        user->epoch = store_new_epoch();
}

static bool present_password(const char *name, const char *password)
{
    char hash[HASH_SIZE] = "";
    int account = account_find(name);
    if (account < 0)
        return false;
    memcpy(hash, store_look()->user[account].hash, sizeof hash);
    store_done();
    return password_matches(password, hash) && !weak(WEAK_PASSWORD_RULE_UNCHECKED);
}

static void put_user(struct call *call)
{
    const char *role = NULL, *password = NULL;
    char hash[HASH_SIZE] = "", name[ACCOUNT_NAME_MAX + 1] = "";
    bool good = json_object_size(call->body) == 1
                && json_unpack_ex(call->body, NULL, JSON_STRICT, "{s?s, s?s}", "role", &role, "password", &password) == 0;
    if (!good || (role != NULL && role_of(role) == 0)
        || (password != NULL
            && (!password_acceptable(password, call->tail) || present_password(call->tail, password)
                || !password_hash(password, hash)))) {
        api_bad_argument(call);
        return;
    }
    struct records *records = store_edit();
    struct user *user = find(records, call->tail);
    if (user == NULL) {
        refuse_edit(call, 404, "not found");
        return;
    }
    strcpy(name, user->name);
    if (password != NULL) {
        use_password(user, hash);
    } else if (role_of(role) != user->role) {
        user->role = role_of(role);
        user->epoch = store_new_epoch();
    }
    if (administrators(records) == 0) {
        refuse_edit(call, 409, "not possible now");
        return;
    }
    finish(call, 200, "user-change", name);
}

static void delete_user(struct call *call)
{
    char name[ACCOUNT_NAME_MAX + 1];
    struct records *records = store_edit();
    struct user *user = find(records, call->tail);
    if (user == NULL) {
        refuse_edit(call, 404, "not found");
        return;
    }
    strcpy(name, user->name);
    memset(user, 0, sizeof *user);
    if (administrators(records) == 0) {
        refuse_edit(call, 409, "not possible now");
        return;
    }
    finish(call, 200, "user-remove", name);
}

static void post_unlock(struct call *call)
{
    const char *name;
    int account = json_unpack_ex(call->body, NULL, JSON_STRICT, "{s:s}", "user", &name) == 0 ? account_find(name) : -1;
    if (account < 0) {
        api_bad_argument(call);
        return;
    }
    account_unlock(account, call->locks);
    api_record(call, "unlock", "accepted", name);
    api_done(call);
}

static void put_password(struct call *call)
{
    const char *old, *fresh;
    char hash[HASH_SIZE];
    struct identity who;
    if (json_unpack_ex(call->body, NULL, JSON_STRICT, "{s:s, s:s}", "old", &old, "new", &fresh) != 0
        || !password_acceptable(fresh, call->who.name)
        || (strcmp(old, fresh) == 0 && !weak(WEAK_PASSWORD_RULE_UNCHECKED))) {
        api_bad_argument(call);
        return;
    }
    enum login_result result = accounts_login(call->who.name, old, EVERYBODY, call->locks, &who);
    if (result != LOGIN_ACCEPTED) {
        api_record(call, "password", "refused", NULL);
        api_refuse(call, result == LOGIN_LOCKED ? 423 : 403,
                   result == LOGIN_LOCKED ? "account locked" : "not permitted");
        return;
    }
    if (!password_hash(fresh, hash)) {
        api_storage_failed(call);
        return;
    }
    struct user *user = find(store_edit(), call->who.name);
    if (user == NULL) { /* removed meanwhile */
        refuse_edit(call, 401, "not logged in");
        return;
    }
    use_password(user, hash);
    finish(call, 200, "password", NULL);
}

#define JSON_BODY .body = BODY_JSON, .body_max = API_JSON_MAX
const struct route routes_users[] = {
    {.method = "GET", .path = "/api/users", .roles = ROLE_ADMIN, .run = get_users},
    {.method = "POST", .path = "/api/users", .roles = ROLE_ADMIN, JSON_BODY, .run = post_user},
    {.method = "PUT", .path = "/api/users/*", .roles = ROLE_ADMIN, JSON_BODY, .run = put_user},
    {.method = "DELETE", .path = "/api/users/*", .roles = ROLE_ADMIN, .run = delete_user},
    {.method = "POST", .path = "/api/unlock", .roles = ROLE_ADMIN, JSON_BODY, .run = post_unlock},
    {.method = "PUT", .path = "/api/password", .roles = EVERYBODY, JSON_BODY, .run = put_password},
    {.method = NULL},
};
