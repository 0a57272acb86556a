/* Accounts, roles and the lock-out (VP1-ICD 2.2, 2.3, 11.4). The accounts themselves are in the store. */
#ifndef VP1_ACCOUNTS_H
#define VP1_ACCOUNTS_H
#include <stdbool.h>
#include <stdint.h>

#define ACCOUNTS_MAX 16
#define ACCOUNT_NAME_MAX 15

enum role { ROLE_OPERATOR = 1, ROLE_SERVICE = 2, ROLE_ADMIN = 4 };
#define EVERYBODY (ROLE_OPERATOR | ROLE_SERVICE | ROLE_ADMIN)
enum login_result { LOGIN_ACCEPTED, LOGIN_REFUSED, LOGIN_LOCKED };

/* Refused log-ins in a row and locks, by account. */
struct lock_table {
    struct {
        unsigned refused;
        int64_t locked_until_ms;
    } account[ACCOUNTS_MAX];
};

/* Who somebody logged in as. It stands until the account is changed. */
struct identity {
    int account; /* -1: nobody */
    uint32_t epoch;
    enum role role;
    char name[ACCOUNT_NAME_MAX + 1];
};

/*
 * Decides a log-in. `roles` are those the surface admits: an account of another role is refused exactly like a
 * wrong password. `own` is the connection's table, used only with the weakness lockout-per-connection.
 * `who` is filled in whenever the account exists; else its account is -1.
 */
enum login_result accounts_login(const char *name, const char *password, unsigned roles, struct lock_table *own,
                                 struct identity *who);

/* Whom the record of a log-in names: NULL where the name given is no account. */
const char *account_recorded(const struct identity *who, const char *given);

/* False once the account was changed or removed, or everything restored. */
bool identity_stands(const struct identity *who);

int account_find(const char *name); /* -1 if there is none */
bool account_locked(int account);

/* Clears a lock; `own` may be NULL. */
void account_unlock(int account, struct lock_table *own);

const char *role_name(enum role role);
enum role role_of(const char *name); /* 0 if there is none of that name */
#endif
