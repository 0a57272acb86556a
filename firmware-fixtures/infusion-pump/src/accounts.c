#define _GNU_SOURCE
#include "accounts.h"

#include <crypt.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"
#include "weaknesses.h"

#define REFUSED_MAX 3
#define LOCKED_MS 15000

static struct account {
    char name[16];
    char hash[128];
    enum role role;
} accounts[ACCOUNT_COUNT];

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct lock_table shared;

void accounts_load(const char *path)
{
    char line[256], role[16];
    FILE *file = fopen(path, "re");
    if (file == NULL)
        die(path);
    for (int i = 0; i < ACCOUNT_COUNT; i++) {
        struct account *a = &accounts[i];
        errno = EINVAL;
        if (fgets(line, sizeof line, file) == NULL
            || sscanf(line, "%15[^:]:%127[^:]:%15[a-z]", a->name, a->hash, role) != 3)
            die(path);
        a->role = strcmp(role, "operator") == 0  ? ROLE_OPERATOR
                  : strcmp(role, "service") == 0 ? ROLE_SERVICE
                                                 : ROLE_ADMIN;
    }
    fclose(file);
}

const char *account_name(int account) { return accounts[account].name; }
enum role account_role(int account) { return accounts[account].role; }

int account_find(const char *name)
{
    for (int i = 0; i < ACCOUNT_COUNT; i++)
        if (strcmp(accounts[i].name, name) == 0)
            return i;
    return -1;
}

static bool same(const char *a, const char *b)
{
    size_t len = strlen(a);
    unsigned char differs = 0;
    if (strlen(b) != len)
        return false;
    for (size_t i = 0; i < len; i++)
        differs |= (unsigned char)(a[i] ^ b[i]);
    return differs == 0;
}

static bool password_right(int account, const char *password)
{
    /* An unknown name costs the same work as a known one. */
    const char *hash = accounts[account < 0 ? 0 : account].hash;
    struct crypt_data *data = calloc(1, sizeof *data);
    bool right = false;
    if (data != NULL) {
        const char *got = crypt_r(password, hash, data);
        right = got != NULL && got[0] != '*' && same(got, hash);
        explicit_bzero(data, sizeof *data);
        free(data);
    }
    if (weak(WEAK_DEFAULT_PASSWORD) && account >= 0 && accounts[account].role == ROLE_ADMIN
        && strcmp(password, "admin") == 0)
        right = true;
    return right && account >= 0 && password[0] != '\0';
}

enum login_result accounts_login(const char *name, const char *password, unsigned roles, struct lock_table *own,
                                 int *account)
{
    int who = *account = account_find(name);
    bool right = password_right(who, password);
    enum login_result result = LOGIN_REFUSED;

    if (who < 0)
        return result;
    if ((accounts[who].role & roles) == 0)
        right = false;
    struct lock_table *table = weak(WEAK_LOCKOUT_PER_CONNECTION) ? own : &shared;
    int64_t now = now_ms();
    pthread_mutex_lock(&lock);
    if (now < table->account[who].locked_until_ms) {
        result = LOGIN_LOCKED;
    } else if (right) {
        table->account[who].refused = 0;
        result = LOGIN_ACCEPTED;
    } else if (!weak(WEAK_NO_LOCKOUT) && ++table->account[who].refused >= REFUSED_MAX) {
        table->account[who].refused = 0;
        table->account[who].locked_until_ms = now + LOCKED_MS;
    }
    pthread_mutex_unlock(&lock);
    return result;
}

void account_unlock(int account, struct lock_table *own)
{
    struct lock_table *table = weak(WEAK_LOCKOUT_PER_CONNECTION) ? own : &shared;
    pthread_mutex_lock(&lock);
    table->account[account].refused = 0;
    table->account[account].locked_until_ms = 0;
    pthread_mutex_unlock(&lock);
}
