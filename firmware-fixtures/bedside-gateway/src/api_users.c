/* The management API: accounts and passwords. */
#define _GNU_SOURCE
#include <string.h>

#include "api.h"

static bool name_fits(const char *user)
{
    size_t len = strlen(user);
    return len >= 1 && len < USER_MAX && user[0] >= 'a' && user[0] <= 'z'
           && strspn(user, "abcdefghijklmnopqrstuvwxyz0123456789-") == len;
}

/* Keeps what was changed, and has it recorded. */
static void keep(struct call *call, const char *event, const char *user)
{
    if (!store_save())
        return refuse(call, 500, NULL);
    call->event = event;
    strcpy(call->detail, user);
}

void api_users(struct call *call) { call->answer = json_pack("{s:o}", "users", accounts_list()); }

void api_user_add(struct call *call)
{
    const char *user, *role_text, *password;
    enum role role;
    if (json_unpack_ex(call->json, NULL, JSON_STRICT, "{s:s, s:s, s:s}", "user", &user, "role", &role_text, "password",
                       &password) != 0 || !name_fits(user) || !role_of(role_text, &role)
        || !password_fits(user, password, NULL))
        return refuse(call, 400, NULL);
    if (!account_add(user, role, password))
        return refuse(call, 409, NULL);
    call->status = 201;
    keep(call, "user-add", user);
}

void api_user_change(struct call *call)
{
    const char *text;
    enum role role;
    bool password = json_unpack_ex(call->json, NULL, JSON_STRICT, "{s:s}", "password", &text) == 0;
    bool other = !password && json_unpack_ex(call->json, NULL, JSON_STRICT, "{s:s}", "role", &text) == 0;
    if (!password && (!other || !role_of(text, &role)))
        return refuse(call, 400, NULL);
    struct account *account = account_of(call->name);
    if (account == NULL)
        return refuse(call, 404, NULL);
    if (password && !password_fits(call->name, text, account->hash))
        return refuse(call, 400, NULL);
    if (password)
        account_set_password(account, text);
    else if (!account_set_role(account, role))
        return refuse(call, 409, NULL);
    keep(call, "user-change", call->name);
}

void api_user_remove(struct call *call)
{
    struct account *account = account_of(call->name);
    if (json_object_size(call->json) > 0)
        return refuse(call, 400, NULL);
    if (account == NULL)
        return refuse(call, 404, NULL);
    if (!account_remove(account))
        return refuse(call, 409, NULL);
    keep(call, "user-remove", call->name);
}

void api_unlock(struct call *call)
{
    const char *user;
    if (json_unpack_ex(call->json, NULL, JSON_STRICT, "{s:s}", "user", &user) != 0 || strlen(user) >= USER_MAX)
        return refuse(call, 400, NULL);
    struct account *account = account_of(user);
    if (account == NULL)
        return refuse(call, 404, NULL);
    account->failed = 0;
    account->locked_until = 0;
    call->event = "unlock";
    strcpy(call->detail, user);
}

void api_own_password(struct call *call)
{
    const char *old, *new;
    char user[USER_MAX];
    strcpy(user, call->session->user);
    if (json_unpack_ex(call->json, NULL, JSON_STRICT, "{s:s, s:s}", "old", &old, "new", &new) != 0)
        return refuse(call, 400, NULL);
    enum log_in proven = account_prove(user, old);
    if (proven != LOG_IN_ACCEPTED) {
        audit(user, "api", "password", "refused", "-");
        return refuse(call, proven == LOG_IN_LOCKED ? 423 : 403, NULL);
    }
    if (!password_fits(user, new, call->account->hash))
        return refuse(call, 400, NULL);
    account_set_password(call->account, new);
    keep(call, "password", user);
}
