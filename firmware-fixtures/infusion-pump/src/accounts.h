/* Accounts, roles and the lock-out (VP1-ICD 2.2, 2.3). */
#ifndef VP1_ACCOUNTS_H
#define VP1_ACCOUNTS_H
#include <stdbool.h>
#include <stdint.h>

#define ACCOUNT_COUNT 3

enum role { ROLE_OPERATOR = 1, ROLE_SERVICE = 2, ROLE_ADMIN = 4 };
enum login_result { LOGIN_ACCEPTED, LOGIN_REFUSED, LOGIN_LOCKED };

/* Refused log-ins in a row and locks, by account. */
struct lock_table {
    struct {
        unsigned refused;
        int64_t locked_until_ms;
    } account[ACCOUNT_COUNT];
};

/* Reads NAME:HASH:ROLE lines; needs to be done before privileges are dropped. */
void accounts_load(const char *path);

/*
 * Decides a log-in. `roles` are those the surface admits: an account of another role is refused exactly like a
 * wrong password. `own` is the connection's table, used only with the weakness lockout-per-connection.
 * On LOGIN_ACCEPTED `*account` is its index. `*account` is -1 for an unknown name.
 */
enum login_result accounts_login(const char *name, const char *password, unsigned roles, struct lock_table *own,
                                 int *account);

const char *account_name(int account);
enum role account_role(int account);
int account_find(const char *name); /* -1 if there is none */
void account_unlock(int account, struct lock_table *own);
#endif
