/* The two places where the dialogue is held: the serial console and the SSH menu's socket. */
#ifndef VP1_TERMINALS_H
#define VP1_TERMINALS_H

#define MENU_SOCKET "/run/vp1/menu.sock"

/* Opens `tty` raw (a break and control characters are data or ignored) and holds the dialogue on it for ever. */
void console_start(const char *tty);

/* Serves the SSH menu; `menu_gid` may connect. */
void menu_start(int menu_gid);

/* A listening unix socket at `path` for owner and group. */
int unix_listener(const char *path, int gid);
#endif
