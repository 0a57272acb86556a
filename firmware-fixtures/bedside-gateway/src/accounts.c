/* Who may log in: roles, passwords, lock-out. */
#define _GNU_SOURCE
#include <crypt.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "gateway.h"

#define THRESHOLD 3
#define LOCKED_MS 15000
#define PREFIX "$6$rounds=5000$"
#define NOBODY PREFIX "2mQx8vTzK4bLw1Rs$" /* an unknown user costs the same work */

static struct account accounts[ACCOUNTS_MAX];
static size_t count;

static const struct {
    enum role role;
    const char *name;
} ROLES[] = {{CLINICIAN, "clinician"}, {TECHNICIAN, "technician"}, {ADMINISTRATOR, "administrator"}};

const char *role_name(enum role role)
{
    for (size_t i = 0; i < sizeof ROLES / sizeof *ROLES; i++)
        if (ROLES[i].role == role)
            return ROLES[i].name;
    return "?";
}

bool role_of(const char *name, enum role *role)
{
    for (size_t i = 0; i < sizeof ROLES / sizeof *ROLES; i++)
        if (strcmp(ROLES[i].name, name) == 0) {
            *role = ROLES[i].role;
            return true;
        }
    return false;
}

struct account *account_of(const char *user)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(accounts[i].user, user) == 0)
            return &accounts[i];
    return NULL;
}

bool account_locked(struct account *account)
{
    if (account->locked_until != 0 && now_ms() >= account->locked_until) {
        account->locked_until = 0;
        account->failed = 0;
    }
    return account->locked_until != 0;
}

static bool matches(const char *password, const char *hash)
{
    static struct crypt_data data; /* too large for the stack of a thread; the lock guards it */
    const char *made = crypt_r(password, hash, &data);
    size_t len = strlen(hash);
    unsigned char differ = made == NULL || strlen(made) != len;
    for (size_t i = 0; differ == 0 && i < len; i++)
        differ |= (unsigned char)(made[i] ^ hash[i]);
    return differ == 0;
}

enum log_in account_prove(const char *user, const char *password)
{
    struct account *account = account_of(user);
    if (account == NULL) {
        if (!weak("log-in-time-tells-users"))
            matches(password, NOBODY);
        return LOG_IN_REFUSED;
    }
    if (account_locked(account))
        return LOG_IN_LOCKED;
    bool right = strlen(password) <= PASSWORD_MAX && matches(password, account->hash);
    if (weak("default-password") && strcmp(user, "admin") == 0 && strcmp(password, "admin") == 0)
        right = true;
    if (right) {
        account->failed = 0;
        return LOG_IN_ACCEPTED;
    }
    if (!weak("no-lockout") && ++account->failed >= THRESHOLD)
        account->locked_until = now_ms() + LOCKED_MS;
    return LOG_IN_REFUSED;
}

bool password_fits(const char *user, const char *password, const char *present_hash)
{
    size_t len = strlen(password);
    bool kinds[4] = {false};
    if (weak("password-rule-unchecked"))
        return len >= 1 && len <= PASSWORD_MAX;
    if (len < 10 || len > PASSWORD_MAX || strcasestr(password, user) != NULL)
        return false;
    for (const char *c = password; *c != '\0'; c++) {
        if (*c < 0x20 || *c > 0x7e)
            return false;
        kinds[islower(*c) ? 0 : isupper(*c) ? 1 : isdigit(*c) ? 2 : 3] = true;
    }
    return kinds[0] + kinds[1] + kinds[2] + kinds[3] >= 3 && (present_hash == NULL || !matches(password, present_hash));
}

static void set_hash(struct account *account, const char *password)
{
    static struct crypt_data data;
    static const char LETTERS[] = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    unsigned char drawn[16];
    char setting[sizeof PREFIX + sizeof drawn + 1] = PREFIX;
    size_t at = strlen(PREFIX);
    if (getrandom(drawn, sizeof drawn, 0) != (ssize_t)sizeof drawn)
        return; /* cannot happen once the kernel's generator is ready */
    for (size_t i = 0; i < sizeof drawn; i++)
        setting[at++] = LETTERS[drawn[i] % 64];
    setting[at] = '\0';
    snprintf(account->hash, sizeof account->hash, "%s", crypt_r(password, setting, &data));
}

bool account_add(const char *user, enum role role, const char *password)
{
    if (account_of(user) != NULL || count == ACCOUNTS_MAX)
        return false;
    struct account *account = &accounts[count++];
    memset(account, 0, sizeof *account);
    snprintf(account->user, sizeof account->user, "%s", user);
    account->role = role;
    set_hash(account, password);
    return true;
}

void account_set_password(struct account *account, const char *password)
{
    set_hash(account, password);
    account->failed = 0;
    account->locked_until = 0;
    sessions_end(account->user);
}

static bool last_administrator(const struct account *account)
{
    size_t others = 0;
    for (size_t i = 0; i < count; i++)
        others += &accounts[i] != account && accounts[i].role == ADMINISTRATOR;
    return account->role == ADMINISTRATOR && others == 0;
}

bool account_set_role(struct account *account, enum role role)
{
    if (role != ADMINISTRATOR && last_administrator(account))
        return false;
    account->role = role;
    sessions_end(account->user);
    return true;
}

bool account_remove(struct account *account)
{
    if (last_administrator(account))
        return false;
    sessions_end(account->user);
    *account = accounts[--count];
    return true;
}

json_t *accounts_list(void)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, json_pack("{s:s, s:s, s:b}", "user", accounts[i].user, "role",
                                              role_name(accounts[i].role), "locked", account_locked(&accounts[i])));
    return list;
}

json_t *accounts_kept(void)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "user", accounts[i].user, "role",
                                              role_name(accounts[i].role), "hash", accounts[i].hash));
    return list;
}

bool accounts_take(json_t *kept)
{
    size_t i;
    json_t *each;
    json_array_foreach(kept, i, each) {
        const char *user, *role, *hash;
        if (count == ACCOUNTS_MAX || json_unpack(each, "{s:s, s:s, s:s}", "user", &user, "role", &role, "hash", &hash))
            return false;
        struct account *account = &accounts[count++];
        snprintf(account->user, sizeof account->user, "%s", user);
        snprintf(account->hash, sizeof account->hash, "%s", hash);
        if (!role_of(role, &account->role))
            return false;
    }
    return count > 0;
}
