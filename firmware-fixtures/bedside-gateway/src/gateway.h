/* gatewayd: the application of the BG-4. One lock guards everything below; whoever calls holds it unless said otherwise. */
#ifndef GATEWAY_H
#define GATEWAY_H
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MODEL "BG-4"
#define SERIAL "BG4-2207"
#define STATE_DIR "/data/bg4"
#define RUN_DIR "/run/bg4"
#define USER_MAX 16      /* with the NUL */
#define PASSWORD_MAX 64
#define ACCOUNTS_MAX 16
#define TEXT_MAX 65      /* of a setting, with the NUL */

/* main.c */
extern bool reboot_asked;
void gateway_lock(void);
void gateway_unlock(void);
uint64_t now_ms(void); /* since the machine's start; needs no lock */
const char *version(void);
bool weak(const char *name); /* a weakness is switched on; needs no lock */

/* audit.c */
void audit_open(void);
void audit(const char *user, const char *surface, const char *event, const char *result, const char *detail);
json_t *audit_last(size_t count); /* list of lines, oldest first */

/* accounts.c */
enum role { CLINICIAN = 1, TECHNICIAN = 2, ADMINISTRATOR = 4 };
enum log_in { LOG_IN_ACCEPTED, LOG_IN_REFUSED, LOG_IN_LOCKED, LOG_IN_FULL };

struct account {
    char user[USER_MAX];
    enum role role;
    char hash[128];
    unsigned failed;
    uint64_t locked_until; /* 0: not locked */
};

const char *role_name(enum role role);
bool role_of(const char *name, enum role *role);
struct account *account_of(const char *user);
bool account_locked(struct account *account);
/* A try to prove who somebody is; counts what is refused. */
enum log_in account_prove(const char *user, const char *password);
bool password_fits(const char *user, const char *password, const char *present_hash);
bool account_add(const char *user, enum role role, const char *password); /* false: exists, or no room */
void account_set_password(struct account *account, const char *password);
bool account_set_role(struct account *account, enum role role); /* false: the last administrator */
bool account_remove(struct account *account);                   /* the same */
json_t *accounts_list(void);
json_t *accounts_kept(void);
bool accounts_take(json_t *kept);

/* store.c: accounts and settings, kept over restarts */
extern char ward[TEXT_MAX];
bool store_load(void);
bool store_save(void);

/* sessions.c */
struct session {
    char token[65]; /* empty: this place is free */
    char user[USER_MAX];
    const char *surface;
    uint64_t used;
};

enum log_in session_open(const char *user, const char *password, const char *surface, struct session **session);
struct session *session_find(const char *token, bool use);
void session_close(struct session *session, const char *detail);
void sessions_end(const char *user);

/* update.c */
json_t *update_status(void);
bool update_busy(void);
/* Takes a bundle from `fd`: `len` bytes. Called and left with the lock held, but gives it up meanwhile. */
const char *update_receive(int fd, size_t len, const char *name);
const char *update_fetch(const char *url); /* NULL when it goes on; else why not */
void update_start(void);                   /* what became of the last one */
bool services_up(void);                    /* needs no lock */

/* api.c */
void *api_serve(void *fd);
/* menu.c */
void *menu_serve(void *fd);
#endif
