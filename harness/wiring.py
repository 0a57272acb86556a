"""The links of a rig: opened on first use, recorded from the first byte, closed together when the device restarts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from serial.rs485 import RS485Settings

from harness.capture import CaptureFile
from harness.clean import Masker, file_name
from harness.device.outcomes import NoAnswer, Outcome
from harness.errors import BenchFault, UsageError
from harness.links.can import CanLink, open_can, open_socketcand
from harness.links.dialer import Dialer
from harness.links.http import HttpLink
from harness.links.http_trust import Trust
from harness.links.isotp import IsoTpLink
from harness.links.modbus import ModbusLink, open_modbus_rtu, open_modbus_tcp
from harness.links.network import open_tcp
from harness.links.serial import open_serial
from harness.links.ssh import SshHostKeyMismatch, SshLink, SshNoConnection, SshRefused, open_ssh
from harness.links.stream import StreamLink
from harness.links.uds import UdsClient
from harness.rig.can_database import EXTENDED_FLAG
from harness.rig.loading import Rig
from harness.rig.rig_file import (
    CanLinkSpec,
    HttpLinkSpec,
    LinkSpec,
    ModbusRtuLinkSpec,
    ModbusTcpLinkSpec,
    NetworkLinkSpec,
    QemuControlSpec,
    Rs485,
    SerialLinkSpec,
    SshLinkSpec,
    TcpLinkSpec,
)

__all__ = ["Observer", "RigWiring", "uds_tap"]

BOOT_WITHIN = 30.0
"""Seconds an adapter inside the emulated machine gets until it is there."""

Observer = Callable[[str, str, Outcome[object]], None]


def uds_tap(link: str) -> str:
    """Return the name of the capture that holds the whole UDS messages of a CAN link."""
    return f"{link}-uds"


class RigWiring:
    """Implements `harness.device.surface.Wiring` for one rig.

    `port_of` turns `control:NAME` into a URL of the control, `break_of` into its way to send a break there, if it
    has one; `dialer` opens sockets where the device lives.
    """

    def __init__(
        self,
        rig: Rig,
        *,
        dialer: Dialer,
        port_of: Callable[[str], str],
        break_of: Callable[[str], Callable[[], None] | None],
        captures: Path,
        prefix: str,
    ) -> None:
        self.rig = rig
        self.dialer = dialer
        self.observer: Observer = _unobserved
        self._port_of = port_of
        self._break_of = break_of
        self._captures = captures
        self._prefix = prefix
        self._taps: dict[str, CaptureFile] = {}
        self._streams: dict[str, StreamLink] = {}
        self._buses: dict[str, CanLink] = {}
        self._dropped: Counter[str] = Counter()
        self._modbus: dict[str, ModbusLink] = {}
        self._diagnostics: dict[tuple[str, int], tuple[IsoTpLink, UdsClient]] = {}
        self._shells: dict[int, SshLink] = {}
        self._servers: dict[str, HttpLink] = {}
        self._connections: dict[int, StreamLink] = {}
        self._connected = 0
        self.masker = Masker(rig.secrets())

    # harness.device.surface.Wiring

    @property
    def answer_within(self) -> float:
        """Seconds a device may take to answer."""
        return self.rig.file.answer_within

    def open_stream(self, link: str) -> StreamLink | NoAnswer:
        """Return the shared console, a new SSH shell or a new TCP connection."""
        spec = self._spec(link)
        if isinstance(spec, SerialLinkSpec):
            return self._serial(link, spec)
        if isinstance(spec, SshLinkSpec):
            return self._shell(link)
        if isinstance(spec, TcpLinkSpec):
            return self._connection(link, spec)
        raise UsageError(f"link {link!r} ({spec.type}) is no byte stream", hint="use a serial, ssh or tcp link")

    def shared(self, link: str) -> bool:
        """Say whether a stream is one line for all."""
        return isinstance(self._spec(link), SerialLinkSpec)

    def close_stream(self, link: str, stream: StreamLink) -> None:
        """Close a connection, an SSH shell with its own; leave a console open."""
        if self._connections.pop(id(stream), None) is not None:
            stream.close()
        shell = self._shells.pop(id(stream), None)
        if shell is not None:
            stream.close()
            shell.close()

    def can(self, link: str) -> CanLink:
        """Return the bus, opened on first use."""
        if link not in self._buses:
            spec = self._spec(link)
            if not isinstance(spec, CanLinkSpec):
                raise UsageError(f"link {link!r} is {spec.type}, not can")
            self._buses[link] = self._open_can(link, spec)
        return self._buses[link]

    def dropped(self) -> Counter[str]:
        """Return how many frames each bus lost on the bench's side up to now, where the adapter can tell."""
        return self._dropped + Counter({link: bus.dropped or 0 for link, bus in self._buses.items()})

    def modbus(self, link: str) -> ModbusLink:
        """Return the Modbus link, opened on first use."""
        if link not in self._modbus:
            spec = self._spec(link)
            match spec:
                case ModbusTcpLinkSpec():
                    self._modbus[link] = open_modbus_tcp(
                        self.dialer, spec.host, spec.port, unit=1, name=link, tap=self.tap(link)
                    )
                case ModbusRtuLinkSpec():
                    paced = spec.port.startswith(("/", "usb:", "rfc2217://"))
                    stream = self._serial(link, spec)
                    self._modbus[link] = open_modbus_rtu(stream, unit=1, baudrate=spec.baudrate, paced=paced)
                case _:
                    raise UsageError(f"link {link!r} is {spec.type}, not Modbus")
        return self._modbus[link]

    def uds(self, link: str, request_id: int, response_id: int) -> UdsClient:
        """Return the UDS client for one pair of identifiers, with bit 31 set where they have 29 bits."""
        key = (link, request_id)
        if key not in self._diagnostics:
            transport = IsoTpLink(
                self.can(link),
                tx_id=request_id & ~EXTENDED_FLAG,
                rx_id=response_id & ~EXTENDED_FLAG,
                name=f"{link} UDS",
                tap=self.tap(uds_tap(link)),
                extended=bool(request_id & EXTENDED_FLAG),
            )
            self._diagnostics[key] = (transport, UdsClient(transport))
        return self._diagnostics[key][1]

    def http(self, link: str) -> HttpLink:
        """Return the HTTP server of a link; connections are opened by whoever asks."""
        if link not in self._servers:
            spec = self._spec(link)
            if not isinstance(spec, HttpLinkSpec):
                raise UsageError(f"link {link!r} is {spec.type}, not HTTP")
            ca_file = str(self.rig.resolve(spec.ca_file)) if spec.ca_file else None
            self._servers[link] = HttpLink(
                self.dialer,
                host=spec.host,
                port=spec.port,
                name=link,
                tap=self.tap(link),
                trust=Trust(spec.fingerprint, ca_file, spec.server_name) if spec.type == "https" else None,
                timeout=max(5.0, self.answer_within * 3),
            )
        return self._servers[link]

    @property
    def unit_serial(self) -> str:
        """Serial number of the unit on this rig."""
        return self.rig.file.item.serial

    def hide(self, secret: str) -> None:
        """Mask a credential that came up just now."""
        self.masker.add(secret)

    def observe(self, surface: str, operation: str, outcome: Outcome[object]) -> None:
        """Hand an operation to whoever records the testcase."""
        self.observer(surface, operation, outcome)

    def forget_observer(self) -> None:
        """Tell nobody of operations: the next baseline is no part of a testcase that is over."""
        self.observer = _unobserved

    # For testcases and watches that work below the surfaces

    def ssh(self, link: str) -> SshLinkSpec:
        """Return the SSH link's settings."""
        spec = self._spec(link)
        if not isinstance(spec, SshLinkSpec):
            raise UsageError(f"link {link!r} is {spec.type}, not ssh")
        return spec

    def network(self, link: str) -> NetworkLinkSpec:
        """Return the device's addresses."""
        spec = self._spec(link)
        if not isinstance(spec, NetworkLinkSpec):
            raise UsageError(f"link {link!r} is {spec.type}, not network")
        return spec

    def connect_ssh(self, link: str) -> SshLink | SshRefused | SshNoConnection | SshHostKeyMismatch:
        """Open an SSH connection as the rig file says."""
        spec = self.ssh(link)
        return open_ssh(
            self.dialer,
            spec.host,
            spec.port,
            user=spec.user,
            key_file=self.rig.resolve(spec.key_file) if spec.key_file else None,
            password=spec.password,
            host_key=spec.host_key,
            timeout=max(5.0, self.answer_within * 3),
            name=link,
            tap=self.tap(link),
        )

    def tap(self, link: str) -> CaptureFile:
        """Return the capture of a link; one file a link for the whole run."""
        if link not in self._taps:
            self._taps[link] = CaptureFile(self._captures / f"{self._prefix}-{file_name(link)}.cap")
        return self._taps[link]

    def open_eager(self) -> None:
        """Open what must be heard from power-on: serial lines, and buses whose adapter is not the emulator's."""
        for name, spec in self.rig.file.links.items():
            if isinstance(spec, SerialLinkSpec | ModbusRtuLinkSpec | CanLinkSpec) and not self._inside(spec):
                self.open_shared(name)

    @property
    def shared_links(self) -> dict[str, StreamLink | CanLink]:
        """The serial lines and buses that are open now. They are the bench's: no device ends them on purpose."""
        return {**self._streams, **self._buses}

    def emulated(self, link: str) -> bool:
        """Whether a link is a line of the emulated or simulated device, which comes and goes with it."""
        return _of_device(self._spec(link))

    def open_shared(self, link: str) -> StreamLink | CanLink:
        """Return a serial line or bus, opened on first use."""
        spec = self._spec(link)
        return self._serial(link, spec) if isinstance(spec, SerialLinkSpec | ModbusRtuLinkSpec) else self.can(link)

    def close_shared(self, link: str) -> None:
        """Close a serial line or bus that is open."""
        shared: tuple[dict[str, Any], ...] = (self._modbus, self._streams, self._buses)
        for links in shared:
            if link in links:
                links.pop(link).close()

    def pulse_reset(self) -> None:
        """Pulse the reset line of the rig file.

        Raises:
            UsageError: it has none.
            BenchFault: the adapter cannot.
        """
        reset = self.rig.file.reset_line
        stream = self.open_stream(reset.link) if reset is not None else None
        if reset is None or not isinstance(stream, StreamLink):
            raise UsageError("this rig has no reset line", where=str(self.rig.path), hint="add reset_line")
        stream.pulse(reset.line, reset.seconds, resting=reset.resting)

    def drop(self, *, serial: bool = True) -> None:
        """Close every link, or all but the serial lines; captures stay open for what comes after."""
        for transport, _ in self._diagnostics.values():
            transport.close()
        self._dropped = self.dropped()
        self._diagnostics.clear()
        _close_all(self._modbus, self._shells, self._buses, self._servers, self._connections)
        if serial:
            _close_all(self._streams)

    def close(self) -> list[tuple[str, dict[str, object]]]:
        """Close links and captures; return what the journal keeps of each capture."""
        self.drop()
        closed = [(link, tap.close()) for link, tap in self._taps.items()]
        self._taps.clear()
        return closed

    # Opening

    def _spec(self, link: str) -> LinkSpec:
        spec = self.rig.file.links.get(link)
        if spec is None:
            raise UsageError(
                f"link {link!r} of the device is not wired on this rig",
                where=str(self.rig.path),
                hint=f"add links.{link}, or leave out the testcases that need it",
            )
        return spec

    def _url(self, port: str) -> str:
        return self._port_of(port.removeprefix("control:")) if port.startswith("control:") else port

    def _inside(self, spec: LinkSpec) -> bool:
        """Whether it is a CAN adapter of the emulated machine, so that it is there only while that runs."""
        emulated = isinstance(self.rig.file.control, QemuControlSpec) and isinstance(spec, CanLinkSpec)
        return emulated and _of_device(spec)

    def _serial(self, link: str, spec: SerialLinkSpec | ModbusRtuLinkSpec) -> StreamLink:
        if link not in self._streams:
            reset = self.rig.file.reset_line
            emulated = spec.port.startswith("control:")
            self._streams[link] = open_serial(
                self._url(spec.port),
                baudrate=spec.baudrate,
                parity=spec.parity,
                stopbits=spec.stopbits,
                rs485_settings=None if spec.rs485 is None else _rs485(spec.rs485),
                resting={reset.line: reset.resting} if reset is not None and reset.link == link else None,
                name=link,
                tap=self.tap(link),
                send_break=self._break_of(spec.port.removeprefix("control:")) if emulated else None,
            )
        return self._streams[link]

    def _open_can(self, link: str, spec: CanLinkSpec) -> CanLink:
        if spec.interface == "socketcand":
            if spec.port is None:
                raise UsageError("socketcand needs `port`", where=f"{self.rig.path}: links.{link}")
            return open_socketcand(
                self._url(spec.port),
                spec.channel,
                name=link,
                tap=self.tap(link),
                prompt=self._inside(spec),
                timeout=BOOT_WITHIN if self._inside(spec) else 5,
            )
        return open_can(
            interface=spec.interface,
            channel=spec.channel,
            bitrate=spec.bitrate,
            extra=spec.options,
            name=link,
            tap=self.tap(link),
        )

    def _connection(self, link: str, spec: TcpLinkSpec) -> StreamLink | NoAnswer:
        """Connect; each connection is recorded on a channel of its own."""
        self._connected += 1
        tap = self.tap(link)
        try:
            stream = open_tcp(
                self.dialer, spec.host, spec.port, name=link, tap=tap, timeout=max(5.0, self.answer_within),
                channel=self._connected,
            )  # fmt: skip
        except OSError as error:
            return NoAnswer(f"no connection: {error.strerror or error}")
        self._connections[id(stream)] = stream
        return stream

    def _shell(self, link: str) -> StreamLink | NoAnswer:
        connection = self.connect_ssh(link)
        match connection:
            case SshNoConnection(reason=reason):
                return NoAnswer(f"no SSH connection: {reason}")
            case SshRefused(method=method):
                return NoAnswer(f"SSH {method} refused")
            case SshHostKeyMismatch():
                raise BenchFault(
                    f"link {link!r}: the SSH host key is not the pinned one",
                    hint="compare with links.….host_key in the rig file; another device may be answering",
                )
        shell = connection.shell()
        if not isinstance(shell, StreamLink):
            connection.close()
            return NoAnswer("SSH shell refused")
        self._shells[id(shell)] = connection
        return shell


def _of_device(spec: LinkSpec) -> bool:
    return str(getattr(spec, "port", "")).startswith("control:")


def _close_all(*kinds: dict[Any, Any]) -> None:
    for links in kinds:
        for each in links.values():
            each.close()
        links.clear()


def _rs485(spec: Rs485) -> RS485Settings:
    return RS485Settings(
        rts_level_for_tx=spec.rts_sends,
        rts_level_for_rx=spec.rts_receives,
        delay_before_tx=spec.before_sending,
        delay_before_rx=spec.after_sending,
    )


def _unobserved(surface: str, operation: str, outcome: Outcome[object]) -> None:
    """An observer that looks away."""
