"""Many TCP connections at once, each sending as fast as it is answered: a load, not a conversation.

What goes over these connections is counted, not recorded byte by byte; the network capture has it.
"""

from __future__ import annotations

import errno
import select
import socket
import time
from dataclasses import dataclass

from harness.links.base import Deadline
from harness.links.dialer import Dialer, resolve

__all__ = ["FloodCount", "flood_tcp"]

_UNANSWERED = 64
"""Messages a connection sends ahead of the answers."""
_BATCH = 8
_TURN_MS = 20


@dataclass(slots=True)
class FloodCount:
    """What a flood came to: connections made, refused and ended by the device, messages sent, bytes received."""

    connected: int = 0
    refused: int = 0
    ended: int = 0
    sent: int = 0
    received: int = 0

    def __str__(self) -> str:
        return (
            f"{self.connected} connections made, {self.refused} refused, {self.ended} ended by the device, "
            f"{self.sent} messages sent, {self.received} bytes received"
        )


@dataclass(slots=True)
class _Connection:
    sock: socket.socket
    up: bool = False
    sent: int = 0
    received: int = 0


def flood_tcp(
    dialer: Dialer,
    host: str,
    port: int,
    *,
    message: bytes,
    answer_size: int,
    connections: int,
    seconds: float,
    half: bool = False,
) -> FloodCount:
    """Keep `connections` open for `seconds`, busy with `message`, or waiting after `half` a message.

    A connection the device ends or refuses is made anew. All are closed (by reset) at the end.
    `answer_size` is how many bytes answer a message, so that no connection runs too far ahead.

    Raises:
        BenchFault: no sockets to be had.
    """
    family, address = resolve(host, port)
    count, deadline = FloodCount(), Deadline(seconds)
    open_now: dict[int, _Connection] = {}
    poll = select.poll()
    again_at = 0.0
    try:
        while not deadline.passed:
            missing = connections - len(open_now)
            if missing and time.monotonic() >= again_at:
                again_at = time.monotonic() + 0.05  # a device that refuses is not asked thousands of times
                for sock in dialer.sockets(missing, family, socket.SOCK_STREAM):
                    sock.setblocking(False)
                    sock.connect_ex(address)
                    open_now[sock.fileno()] = _Connection(sock)
                    poll.register(sock, select.POLLIN | select.POLLOUT)
            for number, events in poll.poll(min(_TURN_MS, deadline.remaining * 1000)):
                connection = open_now[number]
                if not _serve(connection, events, message, answer_size, count, half=half):
                    poll.unregister(number)
                    del open_now[number]
                    connection.sock.close()
                elif (half and connection.up) or connection.sent - connection.received // answer_size >= _UNANSWERED:
                    poll.modify(number, select.POLLIN)
                else:
                    poll.modify(number, select.POLLIN | select.POLLOUT)
    finally:
        for connection in open_now.values():
            # Linger of zero: a reset, so that the device need not wait for the bench.
            connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            connection.sock.close()
    return count


def _serve(
    connection: _Connection, events: int, message: bytes, answer_size: int, count: FloodCount, *, half: bool
) -> bool:
    """Read and write what can be; False when the connection is over."""
    sock = connection.sock
    if not connection.up:
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) or events & select.POLLHUP:
            count.refused += 1
            return False
        connection.up = True
        count.connected += 1
    try:
        if events & select.POLLIN:
            data = sock.recv(65536)
            if not data:
                count.ended += 1
                return False
            connection.received += len(data)
            count.received += len(data)
        if events & select.POLLOUT:
            if half:
                sock.send(message[: len(message) // 2])
            else:
                ahead = connection.sent - connection.received // answer_size
                batch = min(_BATCH, _UNANSWERED - ahead)
                # A batch that leaves in part leaves half a message, which is what a hostile peer would do too.
                sock.send(message * batch)
                connection.sent += batch
                count.sent += batch
    except BlockingIOError:
        return True
    except OSError as error:
        if error.errno not in (errno.ECONNRESET, errno.EPIPE):
            raise
        count.ended += 1
        return False
    return True
