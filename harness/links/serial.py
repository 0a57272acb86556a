"""Serial lines: adapters, pseudo-terminals, serial servers and the character devices of emulators."""

from __future__ import annotations

import contextlib
import socket
import termios
import threading
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

import serial
from serial import rfc2217, rs485

from harness.capture import Tap
from harness.errors import BenchFault, LinkLost, UsageError
from harness.links.base import Deadline, LinkStalled
from harness.links.descriptors import VANISHED_SECONDS, DescriptorTransport, keep_alive, socket_transport
from harness.links.dialer import Dialer, HostDialer, connect, connect_unix
from harness.links.stream import ControlLine, StreamLink, Transport
from harness.links.usb_port import PREFIX, locate

__all__ = ["open_serial"]

CONNECT_SECONDS = 5.0
"""How long a serial server may take to accept the connection."""


class _DescriptorSerial(DescriptorTransport):
    """A terminal opened and set up by pyserial, read and written through its descriptor."""

    def __init__(self, port: serial.Serial, *, what: str) -> None:
        super().__init__(port.fileno(), release=port.close, what=what)
        self._port = port

    def pulse(self, line: ControlLine, duration: float, *, resting: bool) -> None:
        """Turn a control line over for `duration` seconds; raises BenchFault where there is none."""
        with self._writing:
            if self._closed.is_set():
                raise LinkLost(f"{self._what} was closed by the bench")
            _pulse(self._port, line, resting=resting, pause=lambda: self._closed.wait(duration), what=self._what)


class _EmulatedSerial(DescriptorTransport):
    """A character device of an emulator; a break goes by the emulator's own way, as bytes cannot carry it."""

    def __init__(self, sock: socket.socket, *, send_break: Callable[[], None] | None, what: str) -> None:
        super().__init__(sock.fileno(), release=sock.close, what=what)
        self._send_break = send_break

    @property
    def can_break(self) -> bool:
        """Whether the emulator can."""
        return self._send_break is not None

    def send_break(self, duration: float) -> None:  # noqa: ARG002 - an emulated break has no length
        """Have the emulator say that a break came."""
        if self._send_break is not None:
            self._send_break()


class _Rfc2217Transport:
    """A port of an RFC 2217 server, by pyserial's client, whose thread only undoes the telnet coding."""

    can_break = True
    notices_loss_within = VANISHED_SECONDS

    def __init__(self, port: rfc2217.Serial, *, what: str) -> None:
        self._port = port
        self._what = what
        self._closed = threading.Event()
        self._using = threading.Lock()
        sock = getattr(port, "_socket", None)
        if isinstance(sock, socket.socket):
            keep_alive(sock)

    def read(self, timeout: float) -> bytes:
        """Return what arrives within `timeout` seconds; raises LinkLost when the server is gone."""
        deadline = Deadline(timeout)
        while not self._closed.is_set():
            try:
                # One byte, then what is there: reading n bytes would wait for all n or for the whole time.
                data = bytes(self._port.read(1))
                if data and self._port.in_waiting:
                    data += self._port.read(self._port.in_waiting)
            except (serial.SerialException, OSError) as error:
                if self._closed.is_set():
                    break
                raise LinkLost(f"{self._what}: {error}") from error
            if data or deadline.passed:
                return data
        raise LinkLost(f"{self._what} was closed by the bench")

    def write(self, data: bytes, timeout: float) -> None:  # noqa: ARG002 - pyserial waits 5 s, whatever is asked
        """Hand `data` to the socket; raises LinkStalled when the server does not take it."""
        with self._using:
            if self._closed.is_set():
                raise LinkLost(f"{self._what} was closed by the bench")
            try:
                self._port.write(data)
            except (serial.SerialException, OSError) as error:
                if isinstance(error.__context__, TimeoutError):
                    raise LinkStalled(f"{self._what} did not take {len(data)} bytes") from error
                raise LinkLost(f"{self._what}: {error}") from error

    def send_break(self, duration: float) -> None:
        """Have the server hold the line in break for `duration` seconds."""
        with self._using:
            try:
                self._port.break_condition = True
                self._closed.wait(duration)
                self._port.break_condition = False
            except (serial.SerialException, OSError) as error:
                raise LinkLost(f"{self._what}: {error}") from error

    def pulse(self, line: ControlLine, duration: float, *, resting: bool) -> None:
        """Have the server turn a control line over for `duration` seconds; raises BenchFault where it cannot."""
        with self._using:
            if self._closed.is_set():
                raise LinkLost(f"{self._what} was closed by the bench")
            _pulse(self._port, line, resting=resting, pause=lambda: self._closed.wait(duration), what=self._what)

    def close(self) -> None:
        """Close the connection; idempotent."""
        if not self._closed.is_set():
            self._closed.set()
            with self._using, contextlib.suppress(serial.SerialException, OSError):
                self._port.close()


def _pulse(
    port: serial.SerialBase, line: ControlLine, *, resting: bool, pause: Callable[[], object], what: str
) -> None:
    try:
        setattr(port, line, not resting)
        try:
            pause()
        finally:
            setattr(port, line, resting)
    except (serial.SerialException, OSError) as error:
        raise BenchFault(
            f"{what}: {line.upper()} cannot be switched: {error}", hint="use an adapter that has this line wired"
        ) from error


def open_serial(
    url: str,
    *,
    baudrate: int,
    name: str,
    tap: Tap,
    bytesize: int = 8,
    parity: str = "N",
    stopbits: float = 1,
    rtscts: bool = False,
    exclusive: bool = True,
    rs485_settings: rs485.RS485Settings | None = None,
    resting: Mapping[ControlLine, bool] | None = None,
    dialer: Dialer | None = None,
    send_break: Callable[[], None] | None = None,
) -> StreamLink:
    """Open a serial line and start recording it.

    `url` is a device path (`/dev/ttyUSB0`), `usb:VID:PID[:SERIAL]`, `rfc2217://HOST:PORT`, `socket://HOST:PORT`
    (raw bytes over TCP, line settings not used) or `unix:PATH` (an emulator's character device, line settings not
    used; `send_break` is the emulator's way to send a break there). For a device path, DTR and RTS are left asserted
    as opening a terminal asserts them: it may reset a device. `resting` says how to leave them instead, also when the
    port is closed. `rs485_settings` has the adapter's driver switch a two-wire line between sending and receiving; an
    adapter that does it by itself needs none.

    Raises:
        UsageError: the settings or the URL make no sense, or the adapter cannot do them or may not be used.
        BenchFault: the adapter or server is absent or in use.
    """
    try:
        if url.startswith("unix:"):
            sock = connect_unix(url.removeprefix("unix:"), timeout=CONNECT_SECONDS)
            return StreamLink(name, _EmulatedSerial(sock, send_break=send_break, what=name), tap)
        if url.startswith("socket://"):
            transport: Transport = _open_socket(url, name, dialer or HostDialer())
        else:
            port = _make_port(locate(url, name=name), exclusive=exclusive)
            port.baudrate, port.bytesize, port.parity, port.stopbits = baudrate, bytesize, parity, stopbits
            port.rtscts = rtscts
            transport = _open_port(port, name, rs485_settings, resting or {})
    except ValueError as error:
        raise UsageError(f"{name}: {error}", hint="check the serial settings of the rig file") from error
    except (serial.SerialException, OSError) as error:
        raise BenchFault(
            f"{name}: cannot open {url}: {error}",
            hint="is it plugged in, may you read and write it, and does no other program hold it?",
        ) from error
    except termios.error as error:  # pyserial lets it through
        raise BenchFault(
            f"{name}: cannot set up {url}: {error.args[-1]}",
            hint="is it still plugged in, and can it do this speed, parity and number of stop bits?",
        ) from error
    return StreamLink(name, transport, tap)


def _open_socket(url: str, name: str, dialer: Dialer) -> Transport:
    parts = urlsplit(url)
    if parts.hostname is None or parts.port is None:
        raise ValueError(f"{url!r} is not socket://HOST:PORT")
    sock = connect(dialer, parts.hostname, parts.port, timeout=CONNECT_SECONDS)
    return socket_transport(sock, what=name, keepalive=True)


def _make_port(url: str, *, exclusive: bool) -> serial.Serial:
    remote = url.startswith("rfc2217://")
    if not remote and "://" in url:
        raise ValueError(f"{url!r}: only device paths, {PREFIX}, unix:, socket:// and rfc2217:// are serial lines")
    # The time is fixed: changing it later makes the RFC 2217 client negotiate again.
    port = serial.serial_for_url(url, do_not_open=True, timeout=0.1)
    if not remote:
        port.exclusive = exclusive
    return port


def _open_port(
    port: serial.Serial, name: str, rs485_settings: rs485.RS485Settings | None, resting: Mapping[ControlLine, bool]
) -> Transport:
    for line, state in resting.items():
        setattr(port, line, state)  # as it is to be left by opening
    if rs485_settings is not None:
        if isinstance(port, rfc2217.Serial):
            raise ValueError("RS-485 is set where the adapter is, not over RFC 2217")
        port.rs485_mode = rs485_settings
    port.open()
    if isinstance(port, rfc2217.Serial):
        return _Rfc2217Transport(port, what=name)
    if resting:
        settings = termios.tcgetattr(port.fileno())
        settings[2] &= ~termios.HUPCL  # else closing lets go of the lines, and pulls the reset
        termios.tcsetattr(port.fileno(), termios.TCSANOW, settings)
    return _DescriptorSerial(port, what=name)
