"""Where sockets come from: the lab's network or the private network of an emulated device."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
from typing import Protocol

from harness.errors import BenchFault
from harness.links.base import Deadline

__all__ = ["Dialer", "HostDialer", "connect", "connect_unix", "finish_connect", "resolve"]


class Dialer(Protocol):
    """A source of fresh sockets in the network the device lives in."""

    def sockets(self, count: int, family: int, kind: int) -> list[socket.socket]:
        """Return `count` unconnected sockets of `family` (AF_INET, AF_INET6) and `kind` (SOCK_STREAM, SOCK_DGRAM).

        At most 200 a call.

        Raises:
            BenchFault: the network cannot be reached or gives no more sockets.
        """


class HostDialer:
    """Sockets in the network namespace of this process."""

    def sockets(self, count: int, family: int, kind: int) -> list[socket.socket]:
        """Return `count` plain sockets.

        Raises:
            BenchFault: the process has run out of file descriptors, or the family is not supported here.
        """
        opened: list[socket.socket] = []
        try:
            for _ in range(count):
                opened.append(socket.socket(family, kind))
        except OSError as error:
            for sock in opened:
                sock.close()
            raise BenchFault(
                f"no socket to be had: {error}", hint="raise the limit of open files (ulimit -n)"
            ) from error
        return opened


def resolve(host: str, port: int, *, kind: int = socket.SOCK_STREAM) -> tuple[int, tuple[object, ...]]:
    """Return the address family and socket address of `host` (IPv4, IPv6 with or without zone, or a name).

    Raises:
        OSError: the name is unknown.
    """
    family, _, _, _, address = socket.getaddrinfo(host, port, type=kind)[0]
    return int(family), tuple(address)


def connect(dialer: Dialer, host: str, port: int, *, timeout: float) -> socket.socket:
    """Connect over TCP and return a non-blocking socket with TCP_NODELAY.

    Raises:
        ConnectionRefusedError: the device refused: an outcome, left to the caller.
        TimeoutError: nothing answered within `timeout` seconds.
        OSError: unreachable, or the name is unknown.
        BenchFault: no socket to be had.
    """
    family, address = resolve(host, port)
    (sock,) = dialer.sockets(1, family, socket.SOCK_STREAM)
    with contextlib.ExitStack() as undo:
        undo.callback(sock.close)
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        finish_connect(sock, address, timeout=timeout)
        undo.pop_all()
    return sock


def connect_unix(path: str, *, timeout: float) -> socket.socket:
    """Connect to the unix stream socket at `path` and return it non-blocking; raises as `connect`."""
    (sock,) = HostDialer().sockets(1, socket.AF_UNIX, socket.SOCK_STREAM)
    with contextlib.ExitStack() as undo:
        undo.callback(sock.close)
        sock.setblocking(False)
        finish_connect(sock, path, timeout=timeout)
        undo.pop_all()
    return sock


def finish_connect(sock: socket.socket, address: object, *, timeout: float) -> None:
    """Connect a non-blocking `sock` within `timeout` seconds; raises as `connect`."""
    deadline = Deadline(timeout)
    code = sock.connect_ex(address)  # type: ignore[arg-type]
    while code == errno.EAGAIN and not deadline.passed:  # AF_UNIX: the listener's backlog is full
        select.select([], [], [], min(0.02, deadline.remaining))
        code = sock.connect_ex(address)  # type: ignore[arg-type]
    if code == errno.EINPROGRESS:
        poll = select.poll()
        poll.register(sock, select.POLLOUT)
        if not poll.poll(deadline.remaining * 1000):
            raise TimeoutError(errno.ETIMEDOUT, f"no answer within {timeout:g} s")
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code == errno.EAGAIN:
        raise TimeoutError(errno.ETIMEDOUT, f"no answer within {timeout:g} s")
    if code:
        raise OSError(code, os.strerror(code))
