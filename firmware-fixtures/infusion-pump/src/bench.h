/* benchd: the bench's own program inside the emulated machine. No part of the product. */
#ifndef BENCHD_H
#define BENCHD_H
#include <stdbool.h>
#include <stddef.h>

/* A virtio-serial port, reopened over and over by whoever is on the host's side. */
struct port {
    int fd;
    char line[256];
    size_t len;
    bool too_long;
};

/* Opens the port called `name`; ends the program if there is none within 10 s. */
void port_open(struct port *port, const char *name);

/* True while somebody on the host holds the other end. */
bool port_connected(struct port *port);

/* Throws away what is still to be read (left by an earlier peer). */
void port_drop_input(struct port *port);

/* Writes everything, waiting for the host to read; false if the peer goes away meanwhile. */
bool port_write(struct port *port, const char *bytes, size_t len);

/* What port_read gives `take` for each complete unit of text. */
typedef void (*port_unit)(void *arg, char *text);

/* Reads once (waiting at most `wait_ms`) and hands on each text that ends with `end`; false if the peer is gone. */
bool port_read(struct port *port, char end, int wait_ms, port_unit take, void *arg);

void *bench_can(void *interface);
void *bench_agent(void *unused);
#endif
