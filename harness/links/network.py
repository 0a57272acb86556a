"""TCP, TLS and UDP towards a device, and the scans."""

from __future__ import annotations

import os
import socket
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from harness.capture import Direction, NullTap, Tap
from harness.links.base import POLL_SECONDS, PeerClosed, ReadingLink
from harness.links.descriptors import DescriptorTransport, socket_transport
from harness.links.dialer import Dialer, connect, resolve
from harness.links.scan import PortState, UdpState, probe_udp, scan_tcp, usual_udp_ports
from harness.links.stream import StreamLink
from harness.links.tls import TlsFailed, TlsIdentityMismatch, TlsLink, open_tls

__all__ = [
    "Datagram",
    "DatagramLink",
    "PortState",
    "TlsFailed",
    "TlsIdentityMismatch",
    "TlsLink",
    "UdpState",
    "open_tcp",
    "open_tls",
    "open_udp",
    "probe_udp",
    "scan_tcp",
    "tcp_banner",
    "usual_udp_ports",
]


def open_tcp(
    dialer: Dialer, host: str, port: int, *, name: str, tap: Tap, timeout: float, channel: int = 0
) -> StreamLink:
    """Connect and return the stream. A device that hangs up later shows as `PeerClosed`.

    Raises:
        ConnectionRefusedError, TimeoutError, OSError: as `connect`.
    """
    sock = connect(dialer, host, port, timeout=timeout)
    return StreamLink(name, socket_transport(sock, what=name), tap, channel=channel)


def tcp_banner(
    dialer: Dialer, host: str, port: int, *, timeout: float, tap: Tap | None = None, limit: int = 1024
) -> bytes:
    """Return what the port says unasked within `timeout` seconds, at most `limit` bytes (`tap` channel: the port).

    Raises:
        ConnectionRefusedError, TimeoutError, OSError: as `connect`.
    """
    link = open_tcp(dialer, host, port, name=f"{host} port {port}", tap=tap or NullTap(), timeout=timeout, channel=port)
    try:
        link.read_at_least(1, since=0, timeout=timeout)
        link.wait_quiet(0.1, timeout)
    except PeerClosed:
        pass  # said what it had to say
    finally:
        link.close()
    return link.read_since(0)[:limit]


@dataclass(frozen=True, slots=True)
class Datagram:
    """One datagram from the device."""

    data: bytes
    at_ns: int


class DatagramLink(ReadingLink[Datagram]):
    """Datagrams to and from one UDP port of the device."""

    def __init__(self, name: str, sock: socket.socket, tap: Tap) -> None:
        """Take over a connected datagram socket and start reading."""
        super().__init__(name)
        self._transport = _DatagramTransport(sock, what=name)
        self._tap = tap
        self._unread: deque[Datagram] = deque(maxlen=10_000)
        self._start()

    @property
    def refusals(self) -> int:
        """How often the device (or a router) answered "port unreachable"."""
        return self._transport.refusals

    def send(self, data: bytes, *, timeout: float = 1) -> None:
        """Record and send one datagram.

        Raises:
            LinkStalled: it was not taken within `timeout` seconds.
            LinkLost: the network is gone.
        """
        with self._changed:
            self._check_up()
        self._tap.record(Direction.TO_DEVICE, data)
        self._transport.write(data, timeout)

    def receive(self, *, timeout: float) -> Datagram | None:
        """Return the next datagram not yet returned, None after `timeout` seconds.

        Raises:
            LinkLost: the network is gone.
        """
        return self._wait(lambda: self._unread.popleft() if self._unread else None, timeout)

    def discard(self) -> None:
        """Forget what arrived and was not received; it stays in the capture."""
        with self._changed:
            self._unread.clear()

    def _receive(self) -> Sequence[Datagram]:
        data = self._transport.read(POLL_SECONDS)
        if not data:
            return ()
        at_ns = time.monotonic_ns()
        self._tap.record(Direction.FROM_DEVICE, data)
        return (Datagram(data, at_ns),)

    def _keep(self, item: Datagram) -> int:
        self._unread.append(item)
        return item.at_ns

    def _shut(self) -> None:
        self._transport.close()


class _DatagramTransport(DescriptorTransport):
    """A connected datagram socket: an empty datagram is no end of data, a refusal no loss."""

    def __init__(self, sock: socket.socket, *, what: str) -> None:
        self.refusals = 0
        super().__init__(sock.fileno(), release=sock.close, what=what)

    def _take(self) -> bytes | None:
        try:
            return os.read(self._descriptor, 65535) or None
        except ConnectionRefusedError:
            self.refusals += 1
            return None

    def _give(self, data: memoryview) -> int:
        try:
            return os.write(self._descriptor, data)
        except ConnectionRefusedError:
            self.refusals += 1  # reports the datagram before; this one was not sent
            return os.write(self._descriptor, data)


def open_udp(dialer: Dialer, host: str, port: int, *, name: str, tap: Tap) -> DatagramLink:
    """Return a link to one UDP port; nothing is sent yet.

    Raises:
        OSError: the name is unknown or there is no route.
    """
    family, address = resolve(host, port, kind=socket.SOCK_DGRAM)
    (sock,) = dialer.sockets(1, family, socket.SOCK_DGRAM)
    try:
        sock.connect(address)
    except OSError:
        sock.close()
        raise
    return DatagramLink(name, sock, tap)
