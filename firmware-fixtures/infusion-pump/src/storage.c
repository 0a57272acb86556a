#include "storage.h"

#include <pthread.h>
#include <stdbool.h>
#include <time.h>
#include <unistd.h>

#include "audit.h"
#include "pump.h"
#include "store.h"
#include "util.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wake = PTHREAD_COND_INITIALIZER;
static pthread_mutex_t writing = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t start = PTHREAD_COND_INITIALIZER;
static bool woken, started;

void storage_wake(void)
{
    pthread_mutex_lock(&lock);
    woken = true;
    pthread_cond_signal(&wake);
    pthread_mutex_unlock(&lock);
}

/* What asks early waits: a file made with the privileges of the start could not be written without them. */
static void await_start(void)
{
    pthread_mutex_lock(&lock);
    while (!started)
        pthread_cond_wait(&start, &lock);
    pthread_mutex_unlock(&lock);
}

void storage_flush(void)
{
    await_start();
    pthread_mutex_lock(&writing);
    pump_save_if_due();
    store_save_if_due(); /* after the therapy, which a restore may have left to it */
    audit_write_outstanding();
    pthread_mutex_unlock(&writing);
}

static void *storage_thread(void *unused)
{
    (void)unused;
    for (;;) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += 1;
        pthread_mutex_lock(&lock);
        while (!woken && pthread_cond_timedwait(&wake, &lock, &until) == 0)
            ;
        woken = false;
        pthread_mutex_unlock(&lock);
        audit_roll_over();
        storage_flush();
    }
    return NULL;
}

void storage_start(void)
{
    pthread_mutex_lock(&lock);
    started = true;
    pthread_cond_broadcast(&start);
    pthread_mutex_unlock(&lock);
    thread_start(storage_thread, NULL, 0);
}
