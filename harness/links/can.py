"""CAN: frames in and out through SocketCAN, any other python-can interface or a socketcand server.

In a capture, the channel of a frame is `CanFrame.word`, the identifier as Linux SocketCAN writes it: the
identifier itself for a standard data frame, plus 0x80000000 for extended, 0x40000000 for remote and
0x20000000 for error frames. The payload is the data; a remote frame's is as many zero bytes as it asks
for; over eight bytes mean CAN FD.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence

import can

from harness.capture import Direction, Tap
from harness.errors import BenchFault, LinkLost, UsageError
from harness.links.base import POLL_SECONDS, Deadline, ReadingLink
from harness.links.can_errors import BUS_OFF, BUS_OFF_HINT, is_bus_off
from harness.links.canframe import EXTENDED_MASK, STANDARD_MASK, CanFrame, CanTransport
from harness.links.descriptors import socket_transport
from harness.links.dialer import Dialer, HostDialer, connect, connect_unix
from harness.links.python_can import PythonCanTransport
from harness.links.socketcan import open_interface
from harness.links.socketcand import SocketcandTransport

__all__ = ["HISTORY_FRAMES", "CanFrame", "CanLink", "CanTransport", "open_can", "open_socketcand"]

HISTORY_FRAMES = 100_000
"""Frames a link remembers: over ten seconds of a full bus at 1 Mbit/s; the capture keeps all."""


class CanLink(ReadingLink[CanFrame]):
    """A CAN bus with one reader thread and a bounded history of frames."""

    def __init__(self, name: str, transport: CanTransport, tap: Tap) -> None:
        """Take over `transport` and start reading."""
        super().__init__(name, notices_loss_within=transport.notices_loss_within)
        self._transport = transport
        self._tap = tap
        self._frames: deque[CanFrame] = deque(maxlen=HISTORY_FRAMES)
        self._received = 0
        self._start()

    @property
    def received(self) -> int:
        """How many frames arrived since the link was opened."""
        return self._received

    @property
    def dropped(self) -> int | None:
        """Frames that arrived at the bench since the link was opened and were lost there; None where nobody counts."""
        return self._transport.dropped

    def send(self, frame: CanFrame, *, timeout: float = 1) -> None:
        """Record and send one frame.

        Raises:
            UsageError: the identifier or length does not exist on CAN.
            LinkStalled: the adapter did not take it within `timeout` seconds.
            LinkLost: the link is gone.
        """
        if not 0 <= frame.can_id <= (EXTENDED_MASK if frame.extended else STANDARD_MASK) or len(frame.data) > 64:
            raise UsageError(f"{self.name}: no such CAN frame: identifier {frame.can_id:#x}, {len(frame.data)} bytes")
        with self._changed:
            self._check_up()
        self._tap.record(Direction.TO_DEVICE, frame.data, channel=frame.word)
        try:
            self._transport.write(frame, timeout)
        except LinkLost as why:
            self._lose(why)
            raise

    def subscribe(self, callback: Callable[[CanFrame], None]) -> Callable[[], None]:
        """Call `callback` from the reader thread with every frame that arrives; returns the way to stop it.

        The callback must not block. If it raises, the link counts as lost.
        """
        return self._attach(callback)

    def wait_for(
        self, predicate: Callable[[CanFrame], bool], *, timeout: float, since_ns: int | None = None
    ) -> CanFrame | None:
        """Return the first frame for which `predicate` holds, None after `timeout` seconds.

        Frames from `since_ns` (`time.monotonic_ns()`) on count, by default those from now on.

        Raises:
            LinkLost: the link is gone and no frame so far will do.
        """
        with self._changed:
            seen = self._received if since_ns is None else self._received - len(self._since(since_ns))

        def search() -> CanFrame | None:
            nonlocal seen
            fresh, seen = self._newest(self._received - seen), self._received
            return next(filter(predicate, fresh), None)

        return self._wait(search, timeout)

    def collect(self, seconds: float) -> list[CanFrame]:
        """Return the frames that arrive within the next `seconds`.

        Raises:
            LinkLost: the link is gone.
        """
        with self._changed:
            seen = self._received
        self._wait(lambda: None, seconds)
        with self._changed:
            return self._newest(self._received - seen)

    def history(self, since_ns: int = 0) -> list[CanFrame]:
        """Return the remembered frames that arrived at or after `since_ns`; never waits, never raises."""
        with self._changed:
            return self._since(since_ns)

    def _newest(self, count: int) -> list[CanFrame]:
        count = min(count, len(self._frames))
        return [self._frames[-back] for back in range(count, 0, -1)]

    def _since(self, since_ns: int) -> list[CanFrame]:
        count = 0
        for frame in reversed(self._frames):
            if frame.at_ns < since_ns:
                break
            count += 1
        return self._newest(count)

    def _receive(self) -> Sequence[CanFrame]:
        frames = self._transport.read(POLL_SECONDS)
        for frame in frames:
            self._tap.record(Direction.FROM_DEVICE, frame.data, channel=frame.word)
        if any(is_bus_off(frame) for frame in frames):
            # Who is off the bus hears nothing and reaches nobody: what follows would look like a silent device.
            self._publish(frames)
            raise LinkLost(f"{self.name}: {BUS_OFF}", hint=BUS_OFF_HINT)
        return frames

    def _keep(self, item: CanFrame) -> int:
        self._frames.append(item)
        self._received += 1
        return item.at_ns

    def _shut(self) -> None:
        self._transport.close()


def open_can(
    *,
    interface: str,
    channel: str | int,
    name: str,
    tap: Tap,
    bitrate: int | None = None,
    fd: bool = False,
    extra: Mapping[str, object] | None = None,
) -> CanLink:
    """Open a bus: `socketcan` by a socket of its own, every other interface through python-can.

    `bitrate` is for interfaces that set it; one of SocketCAN has the bit timing that `ip link` gave it, which must be
    the same. `extra` are arguments of the interface.

    Raises:
        UsageError: the interface or an argument does not exist.
        BenchFault: the adapter is absent or does not open.
    """
    if interface == "socketcand":
        raise UsageError(
            f"{name}: python-can's socketcand does not notice a dead server",
            hint="use a socketcand address (tcp:HOST:PORT or unix:PATH) instead",
        )
    if interface == "socketcan":
        options = {**(extra or {}), **({"fd": True} if fd else {})}
        return CanLink(name, open_interface(str(channel), name=name, options=options, bitrate=bitrate), tap)
    options = {"interface": interface, "channel": channel, **(extra or {})}
    if bitrate is not None:
        options["bitrate"] = bitrate
    if fd:
        options["fd"] = True
    try:
        bus = can.Bus(**options)  # type: ignore[arg-type]
    except can.CanInterfaceNotImplementedError as error:
        raise UsageError(f"{name}: {error}", hint="see python-can's list of interfaces") from error
    except (TypeError, ValueError) as error:
        raise UsageError(f"{name}: python-can refuses the settings: {error}") from error
    except (can.CanError, OSError, ImportError) as error:
        raise BenchFault(
            f"{name}: cannot open {interface} {channel}: {error}",
            hint="is the adapter plugged in and its driver there?",
        ) from error
    return CanLink(name, PythonCanTransport(bus, what=name), tap)


def open_socketcand(
    address: str,
    channel: str,
    *,
    name: str,
    tap: Tap,
    timeout: float = 5,
    dialer: Dialer | None = None,
    keepalive: bool = True,
    prompt: bool = False,
) -> CanLink:
    """Open bus `channel` of the socketcand server at `address` (`tcp:HOST:PORT` or `unix:PATH`).

    `prompt` asks for the greeting, for a server behind an emulator's port.
    `keepalive` (TCP only) notices a server that vanished without closing, by asking for echoes.

    Raises:
        UsageError: the address is malformed.
        BenchFault: no server there, or it refuses the bus.
    """
    deadline = Deadline(timeout)
    scheme, _, rest = address.partition(":")
    host, _, port = rest.rpartition(":")
    if not rest or scheme not in ("tcp", "unix") or (scheme == "tcp" and not (host and port.isdecimal())):
        raise UsageError(f"{name}: {address!r} is no socketcand address", hint="write tcp:HOST:PORT or unix:PATH")
    try:
        if scheme == "tcp":
            sock = connect(dialer or HostDialer(), host.strip("[]"), int(port), timeout=timeout)
        else:
            sock = connect_unix(rest, timeout=timeout)
    except OSError as error:
        raise BenchFault(f"{name}: no socketcand server at {address}: {error}", hint="is it running?") from error
    over_tcp = scheme == "tcp"
    transport = SocketcandTransport(
        socket_transport(sock, what=name, keepalive=over_tcp), what=name, keepalive=over_tcp and keepalive
    )
    try:
        transport.open(channel, timeout=deadline.remaining, prompt=prompt)
    except BenchFault:
        transport.close()
        raise
    return CanLink(name, transport, tap)
