#include "accounts.h"

#include <pthread.h>
#include <string.h>

#include "passwords.h"
#include "store.h"
#include "util.h"
#include "weaknesses.h"

#define REFUSED_MAX 3
#define LOCKED_MS 15000

/* An unknown name costs the same work as a known one. */
#define NO_PASSWORD "$6$vp1nobodynobody$TeLESFovaMk3mLJR3Ykv9GDHKgU7bI.4jIfNmWT0yExJO5Sipp4suYg5/VoF0ZVGOTwEw95lNaV3VDaqQGnuA1"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct lock_table shared;

const char *role_name(enum role role)
{
    return role == ROLE_OPERATOR ? "operator" : role == ROLE_SERVICE ? "service" : "administrator";
}

enum role role_of(const char *name)
{
    static const enum role roles[] = {ROLE_OPERATOR, ROLE_SERVICE, ROLE_ADMIN};
    for (int i = 0; i < 3; i++)
        if (strcmp(name, role_name(roles[i])) == 0)
            return roles[i];
    return 0;
}

static int find(const struct records *records, const char *name)
{
    for (int i = 0; i < ACCOUNTS_MAX; i++)
        if (name[0] != '\0' && strcmp(records->user[i].name, name) == 0)
            return i;
    return -1;
}

int account_find(const char *name)
{
    int account = find(store_look(), name);
    store_done();
    return account;
}

const char *account_recorded(const struct identity *who, const char *given)
{
    if (who->account >= 0)
        return who->name;
    return weak(WEAK_AUDIT_FORGED_BY_NAME) ? given : NULL;
}

bool identity_stands(const struct identity *who)
{
    const struct user *user = &store_look()->user[who->account < 0 ? 0 : who->account];
    bool stands = who->account >= 0 && user->name[0] != '\0' && user->epoch == who->epoch;
    store_done();
    return stands;
}

static bool password_right(const struct identity *who, const char *hash, const char *password)
{
    if (who->account < 0 && weak(WEAK_LOG_IN_TIME_TELLS_USERS))
        return false;
    bool right = password_matches(password, hash);
    if (weak(WEAK_DEFAULT_PASSWORD) && who->account >= 0 && who->role == ROLE_ADMIN && strcmp(password, "admin") == 0)
        right = true;
    return right && who->account >= 0;
}

enum login_result accounts_login(const char *name, const char *password, unsigned roles, struct lock_table *own,
                                 struct identity *who)
{
    char hash[HASH_SIZE] = NO_PASSWORD;
    const struct records *records = store_look();
    memset(who, 0, sizeof *who);
    who->account = find(records, name);
    if (who->account >= 0) {
        const struct user *user = &records->user[who->account];
        who->epoch = user->epoch;
        who->role = user->role;
        memcpy(who->name, user->name, sizeof who->name);
        memcpy(hash, user->hash, sizeof hash);
    }
    store_done();
    bool right = password_right(who, hash, password);
    explicit_bzero(hash, sizeof hash);
    if (who->account < 0)
        return LOGIN_REFUSED;
    if ((who->role & roles) == 0)
        right = false;
    struct lock_table *table = weak(WEAK_LOCKOUT_PER_CONNECTION) ? own : &shared;
    enum login_result result = LOGIN_REFUSED;
    int64_t now = now_ms();
    pthread_mutex_lock(&lock);
    if (now < table->account[who->account].locked_until_ms) {
        result = LOGIN_LOCKED;
    } else if (right) {
        table->account[who->account].refused = 0;
        result = LOGIN_ACCEPTED;
    } else if (!weak(WEAK_NO_LOCKOUT) && ++table->account[who->account].refused >= REFUSED_MAX) {
        table->account[who->account].refused = 0;
        table->account[who->account].locked_until_ms = now + LOCKED_MS;
    }
    pthread_mutex_unlock(&lock);
    return result;
}

bool account_locked(int account)
{
    pthread_mutex_lock(&lock);
    bool locked = now_ms() < shared.account[account].locked_until_ms;
    pthread_mutex_unlock(&lock);
    return locked;
}

static void clear(struct lock_table *table, int account)
{
    table->account[account].refused = 0;
    table->account[account].locked_until_ms = 0;
}

void account_unlock(int account, struct lock_table *own)
{
    pthread_mutex_lock(&lock);
    clear(&shared, account);
    if (own != NULL)
        clear(own, account);
    pthread_mutex_unlock(&lock);
}
