"""Bytes through a file descriptor: sockets, terminals and serial adapters alike."""

from __future__ import annotations

import array
import fcntl
import os
import select
import socket
import termios
import threading
from collections.abc import Callable

from harness.errors import LinkLost
from harness.links.base import Deadline, LinkStalled, PeerClosed

__all__ = ["VANISHED_SECONDS", "DescriptorTransport", "keep_alive", "socket_transport"]

READ_SIZE = 65536

VANISHED_SECONDS = 3.0
"""Seconds within which a TCP peer that vanished without a word is noticed (`keep_alive`)."""


class DescriptorTransport:
    """Reads and writes one non-blocking descriptor; closing wakes a read that is under way.

    `release` closes the descriptor (a socket's or a serial port's own `close`). `notices_loss_within`: seconds that
    may pass from a loss until the system tells it.
    """

    def __init__(
        self, descriptor: int, *, release: Callable[[], None], what: str, notices_loss_within: float = 0.0
    ) -> None:
        self.notices_loss_within = notices_loss_within
        self._descriptor = descriptor
        self._release = release
        self._what = what
        # A socket may be closed by its peer on purpose; a terminal only ends when the adapter is gone.
        self._ended: type[LinkLost] = LinkLost if os.isatty(descriptor) else PeerClosed
        self._closed = threading.Event()
        self._wake_out, self._wake_in = os.pipe()
        self._reading = threading.Lock()
        self._writing = threading.Lock()
        os.set_blocking(descriptor, False)
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)
        self._poll.register(self._wake_out, select.POLLIN)

    @property
    def can_break(self) -> bool:
        """Whether a break condition can be sent: terminals only."""
        return not self._closed.is_set() and os.isatty(self._descriptor)

    @property
    def taken(self) -> bool:
        """Whether the other end has taken everything that was written."""
        count = array.array("i", [0])
        try:
            # The same number asks terminals, TCP (bytes not acknowledged) and unix sockets (memory not read).
            fcntl.ioctl(self._descriptor, termios.TIOCOUTQ, count)
        except OSError:
            return True
        return count[0] == 0

    def read(self, timeout: float) -> bytes:
        """Return what arrives within `timeout` seconds; empty is silence.

        Raises:
            PeerClosed: the peer ended the connection.
            LinkLost: the adapter vanished, or the link was closed.
        """
        with self._reading:
            if self._closed.is_set():
                raise LinkLost(f"{self._what} was closed by the bench")
            ready = self._poll.poll(timeout * 1000)
            if self._closed.is_set():
                raise LinkLost(f"{self._what} was closed by the bench")
            if not ready:
                return b""
            try:
                data = self._take()
            except BlockingIOError:
                return b""
            except ConnectionResetError as error:
                raise PeerClosed(f"{self._what}: the peer reset the connection") from error
            except OSError as error:
                raise LinkLost(f"{self._what}: {error.strerror}") from error
            if data == b"":
                raise self._ended(f"{self._what}: end of data, the peer is gone")
            return data or b""

    def write(self, data: bytes, timeout: float) -> None:
        """Hand all of `data` to the operating system within `timeout` seconds.

        Raises:
            LinkStalled: only a part was taken in time.
            LinkLost: the link is gone.
        """
        deadline = Deadline(timeout)
        rest = memoryview(data)
        with self._writing:
            while rest:
                if self._closed.is_set():
                    raise LinkLost(f"{self._what} was closed by the bench")
                try:
                    rest = rest[self._give(rest) :]
                except BlockingIOError:
                    if not self._writable(deadline):
                        taken = len(data) - len(rest)
                        raise LinkStalled(
                            f"{self._what} took {taken} of {len(data)} bytes in {timeout:g} s",
                            hint="look for flow control, a paused peer or a wrong cable",
                        ) from None
                except (BrokenPipeError, ConnectionResetError) as error:
                    raise PeerClosed(f"{self._what}: the peer closed the connection") from error
                except OSError as error:
                    raise LinkLost(f"{self._what}: {error.strerror}") from error

    def send_break(self, duration: float) -> None:
        """Hold the line in break for `duration` seconds (a pseudo-terminal ignores it)."""
        with self._writing:
            if self._closed.is_set():
                raise LinkLost(f"{self._what} was closed by the bench")
            try:
                termios.tcsendbreak(self._descriptor, max(0, round(duration * 1000)))
            except termios.error as error:
                raise LinkLost(f"{self._what}: {error.args[-1]}") from error

    def close(self) -> None:
        """Close the descriptor; a read or write under way ends first."""
        if self._closed.is_set():
            return
        self._closed.set()
        os.write(self._wake_in, b"x")
        with self._reading, self._writing:
            if self._wake_in >= 0:
                os.close(self._wake_in)
                os.close(self._wake_out)
                self._wake_in = self._wake_out = -1
                self._release()

    def _take(self) -> bytes | None:
        """Read what is there: empty is the end of data, None is nothing after all."""
        return os.read(self._descriptor, READ_SIZE)

    def _give(self, data: memoryview) -> int:
        return os.write(self._descriptor, data)

    def _writable(self, deadline: Deadline) -> bool:
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        poll.register(self._wake_out, select.POLLIN)
        return bool(poll.poll(deadline.remaining * 1000))


def keep_alive(sock: socket.socket) -> None:
    """Have the kernel probe a silent TCP peer every second, and give it up when for two nothing is acknowledged.

    Without a time of their own, bytes that nobody acknowledges would hold the probes up for many minutes (tcp(7)).
    """
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in (("TCP_KEEPIDLE", 1), ("TCP_KEEPINTVL", 1), ("TCP_KEEPCNT", 2)):
            if hasattr(socket, option):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 2000)


def socket_transport(sock: socket.socket, *, what: str, keepalive: bool = False) -> DescriptorTransport:
    """Wrap a connected stream socket. `keepalive` is for peers of the bench, never for a device (`keep_alive`)."""
    if keepalive:
        keep_alive(sock)
    within = VANISHED_SECONDS if keepalive else 0.0
    return DescriptorTransport(sock.fileno(), release=sock.close, what=what, notices_loss_within=within)
