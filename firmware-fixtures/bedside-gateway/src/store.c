/* Accounts and settings in one file, replaced as a whole. */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <fcntl.h>

#include "gateway.h"

#define FILE_NAME STATE_DIR "/state.json"
#define NEW_NAME STATE_DIR "/state.new"
#define DELIVERED "/etc/bg4/delivered.json"

char ward[TEXT_MAX];

bool store_load(void)
{
    json_t *kept = json_load_file(FILE_NAME, JSON_REJECT_DUPLICATES, NULL);
    if (kept == NULL && access(FILE_NAME, F_OK) != 0)
        kept = json_load_file(DELIVERED, 0, NULL);
    const char *name;
    bool good = kept != NULL && json_unpack(kept, "{s:s}", "ward", &name) == 0 && strlen(name) < sizeof ward
                && accounts_take(json_object_get(kept, "users"));
    if (good)
        strcpy(ward, name);
    json_decref(kept);
    return good;
}

bool store_save(void)
{
    json_t *kept = json_pack("{s:s, s:o}", "ward", ward, "users", accounts_kept());
    int fd = open(NEW_NAME, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool good = fd >= 0 && json_dumpfd(kept, fd, JSON_COMPACT) == 0 && fdatasync(fd) == 0;
    if (fd >= 0)
        close(fd);
    json_decref(kept);
    good = good && rename(NEW_NAME, FILE_NAME) == 0;
    int folder = open(STATE_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    good = good && fsync(folder) == 0;
    close(folder);
    return good;
}
