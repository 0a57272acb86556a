/*
 * bg4-menu: the log-in shell of the SSH account `service`. Whatever the client asked for (arguments are ignored),
 * it joins its terminal to the application's menu.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#define MENU_SOCKET "/run/bg4/menu.sock"

static bool pass_on(int from, int to)
{
    char bytes[2048];
    ssize_t n = read(from, bytes, sizeof bytes);
    for (ssize_t done = 0; done < n;) {
        ssize_t w = write(to, bytes + done, (size_t)(n - done));
        if (w <= 0)
            return false;
        done += w;
    }
    return n > 0 || (n < 0 && errno == EINTR);
}

int main(void)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX, .sun_path = MENU_SOCKET};
    struct termios as_found;
    bool terminal = tcgetattr(0, &as_found) == 0;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    signal(SIGQUIT, SIG_IGN);
    signal(SIGTSTP, SIG_IGN);
    if (fd < 0 || connect(fd, (struct sockaddr *)&at, sizeof at) != 0) {
        static const char away[] = "error: not possible now\r\n";
        return write(1, away, sizeof away - 1) < 0;
    }
    if (terminal) {
        struct termios raw = as_found;
        cfmakeraw(&raw);
        tcsetattr(0, TCSANOW, &raw);
    }
    struct pollfd waits[2] = {{.fd = 0, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
    for (;;) {
        if (poll(waits, 2, -1) < 0)
            continue;
        if (waits[1].revents != 0 && !pass_on(fd, 1))
            break;
        if (waits[0].revents != 0 && !pass_on(0, fd)) {
            shutdown(fd, SHUT_WR);
            waits[0].fd = -1;
        }
    }
    if (terminal)
        tcsetattr(0, TCSADRAIN, &as_found);
    return 0;
}
