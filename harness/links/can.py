"""CAN: frames in and out through any python-can interface or a socketcand server.

In a capture, the channel of a frame is `CanFrame.word`, the identifier as Linux SocketCAN writes it: the
identifier itself for a standard data frame, plus 0x80000000 for extended, 0x40000000 for remote and
0x20000000 for error frames. The payload is the data; a remote frame's is as many zero bytes as it asks
for; over eight bytes mean CAN FD.
"""

from __future__ import annotations

import contextlib
import errno
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence

import can

from harness.capture import Direction, Tap
from harness.errors import BenchFault, LinkLost, UsageError
from harness.links.base import POLL_SECONDS, Deadline, LinkStalled, ReadingLink
from harness.links.canframe import EXTENDED_MASK, STANDARD_MASK, CanFrame, CanTransport
from harness.links.descriptors import socket_transport
from harness.links.dialer import Dialer, HostDialer, connect, connect_unix
from harness.links.socketcand import SocketcandTransport

__all__ = ["HISTORY_FRAMES", "CanFrame", "CanLink", "CanTransport", "open_can", "open_socketcand"]

HISTORY_FRAMES = 100_000
"""Frames a link remembers: over ten seconds of a full bus at 1 Mbit/s; the capture keeps all."""

TRANSIENT_SECONDS = 0.5
"""How long an adapter may report errors without a break before it counts as gone."""

RECEIVE_SECONDS = 0.1
"""Longest time python-can spends in one read."""

_GONE = frozenset({errno.ENODEV, errno.ENXIO, errno.ENETDOWN, errno.EBADF})
"""Errors after which an interface does not come back by itself. Linux says them once, then the socket is silent."""

_BUS_OFF = "the adapter's controller is off the bus (bus-off)"
_BUS_HINT = "look at wiring, termination and bit rate; without restart-ms the interface must be set up anew"


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
        if any(frame.bus_off for frame in frames):
            # Who is off the bus hears nothing and reaches nobody: what follows would look like a silent device.
            self._publish(frames)
            raise LinkLost(f"{self.name}: {_BUS_OFF}", hint=_BUS_HINT)
        return frames

    def _keep(self, item: CanFrame) -> int:
        self._frames.append(item)
        self._received += 1
        return item.at_ns

    def _shut(self) -> None:
        self._transport.close()


class PythonCanTransport:
    """A bus opened by python-can, with a receive loop that outlives passing errors."""

    notices_loss_within = TRANSIENT_SECONDS + RECEIVE_SECONDS

    def __init__(self, bus: can.BusABC, *, what: str) -> None:
        self._bus = bus
        self._what = what
        self._closed = threading.Event()
        self._reading = threading.Lock()
        self._failing_since: float | None = None

    def read(self, timeout: float) -> Sequence[CanFrame]:
        """Return the next frame if one arrives within `timeout` seconds.

        Raises:
            LinkLost: the adapter is gone, or reports nothing but errors.
        """
        with self._reading:
            if self._closed.is_set():
                raise LinkLost(f"{self._what} was closed by the bench")
            try:
                message = self._bus.recv(min(timeout, RECEIVE_SECONDS))
                bus_off = message is None and self._bus.state is can.BusState.ERROR
            except (can.CanError, OSError, ValueError) as error:
                self._failed(error)
                return ()
            self._failing_since = None
            if bus_off:
                raise LinkLost(f"{self._what}: {_BUS_OFF}", hint=_BUS_HINT)
            return () if message is None else (_from_message(message),)

    def write(self, frame: CanFrame, timeout: float) -> None:
        """Send one frame.

        Raises:
            LinkStalled: the adapter did not take it.
            LinkLost: the adapter is gone.
        """
        message = can.Message(
            arbitration_id=frame.can_id,
            data=None if frame.remote else frame.data,
            dlc=len(frame.data),
            is_extended_id=frame.extended,
            is_remote_frame=frame.remote,
            is_error_frame=frame.error,
            is_fd=frame.fd or len(frame.data) > 8,
        )
        try:
            self._bus.send(message, timeout)
        except (can.CanError, OSError) as error:
            if _errno(error) in _GONE:
                raise self._lost(error) from error
            raise LinkStalled(
                f"{self._what} did not take a frame: {error}", hint="is the bus terminated and powered?"
            ) from error

    def close(self) -> None:
        """Shut the bus down once the read under way has ended."""
        self._closed.set()
        with self._reading, contextlib.suppress(can.CanError, OSError):
            self._bus.shutdown()

    def _failed(self, error: Exception) -> None:
        now = time.monotonic()
        if self._failing_since is None:
            self._failing_since = now
        if _errno(error) in _GONE or now - self._failing_since >= TRANSIENT_SECONDS:
            raise self._lost(error) from error
        self._closed.wait(0.02)

    def _lost(self, error: Exception) -> LinkLost:
        return LinkLost(f"{self._what}: {error}", hint="is the adapter plugged in and the bus up?")


def _errno(error: Exception) -> int | None:
    """Return the system's number of an error; python-can has it in a field of its own."""
    return error.error_code if isinstance(error, can.CanError) else getattr(error, "errno", None)


def _from_message(message: can.Message) -> CanFrame:
    return CanFrame(
        message.arbitration_id,
        bytes(message.dlc) if message.is_remote_frame else bytes(message.data),
        extended=message.is_extended_id,
        remote=message.is_remote_frame,
        error=message.is_error_frame,
        at_ns=time.monotonic_ns(),
        fd=message.is_fd,
        stamp=message.timestamp or None,
    )


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
    """Open a bus through python-can; `extra` are arguments of that interface.

    Raises:
        UsageError: python-can does not know the interface or an argument.
        BenchFault: the adapter is absent or does not open.
    """
    if interface == "socketcand":
        raise UsageError(
            f"{name}: python-can's socketcand does not notice a dead server",
            hint="use a socketcand address (tcp:HOST:PORT or unix:PATH) instead",
        )
    options: dict[str, object] = {"interface": interface, "channel": channel, **(extra or {})}
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
