/*
 * vp1-supervise: keeps the application running. Its death is told on the console and handed to the next start,
 * which records it in the audit log. One that never passes its self-test restarts the pump: the boot loader then
 * tries the other slot.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "application.h"

#define STARTS_MAX 5

static void tell(const char *text)
{
    int fd = open("/dev/ttyAMA0", O_WRONLY | O_NOCTTY);
    if (fd >= 0) {
        (void)!write(fd, text, strlen(text));
        close(fd);
    }
}

/* The factory reset: ends with a restart of the pump. */
static void erase(void)
{
    tell("\r\nvp1d: erasing\r\n");
    pid_t child = fork();
    if (child == 0) {
        execl("/etc/init.d/erase", "erase", (char *)NULL);
        _exit(127);
    }
    waitpid(child, NULL, 0);
    reboot(RB_AUTOBOOT);
}

static void run_once(const char *program, char *last_end, size_t size)
{
    char text[80];
    int status;
    pid_t child = fork();
    if (child == 0) {
        execl(program, program, (char *)NULL);
        _exit(127);
    }
    if (child < 0 || waitpid(child, &status, 0) != child)
        return;
    if (WIFSIGNALED(status)) {
        snprintf(text, sizeof text, "\r\nvp1d: terminated by signal %d\r\n", WTERMSIG(status));
        snprintf(last_end, size, "signal-%d", WTERMSIG(status));
    } else if (WEXITSTATUS(status) == EXIT_ERASE) {
        erase();
        return;
    } else if (WEXITSTATUS(status) != 0) {
        snprintf(text, sizeof text, "\r\nvp1d: exited with status %d\r\n", WEXITSTATUS(status));
        snprintf(last_end, size, "status-%d", WEXITSTATUS(status));
    } else {
        snprintf(text, sizeof text, "\r\nvp1d: restarting\r\n");
        snprintf(last_end, size, "restart");
    }
    tell(text);
}

int main(int argc, char **argv)
{
    char last_end[32] = "power-on";
    if (argc != 2)
        return 2;
    for (unsigned starts = 0;;) {
        struct timespec pause = {.tv_nsec = 200000000};
        setenv("VP1_LAST_END", last_end, 1);
        run_once(argv[1], last_end, sizeof last_end);
        if (access("/run/vp1/ready", F_OK) != 0 && ++starts == STARTS_MAX)
            reboot(RB_AUTOBOOT);
        nanosleep(&pause, NULL);
    }
}
