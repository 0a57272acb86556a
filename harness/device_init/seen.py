"""What the scans saw, as values; text of the device is cleaned and capped before it is one of them."""

from __future__ import annotations

from dataclasses import dataclass, field

from harness.clean import show, show_text
from harness.rig.bus_surfaces import ValueType

__all__ = [
    "BusSeen",
    "CanSeen",
    "ConsoleSeen",
    "HostSeen",
    "ModbusSeen",
    "Scanned",
    "SshSeen",
    "TlsSeen",
    "UdsIdentifier",
    "UdsSeen",
    "UnitSeen",
    "said",
]

LONGEST = 120
"""Most characters of the device's that are written in one place."""


def said(text: str | bytes, *, limit: int = LONGEST) -> str:
    """Return text of the device as one line that does nothing: not to a terminal, to YAML, or to `${env:…}`."""
    shown = show(text, limit=limit) if isinstance(text, bytes) else show_text(text, limit=limit)
    return shown.replace("\n", "\\n").replace("\t", "\\t").replace("${", "$\\x7b")


@dataclass(frozen=True, slots=True)
class HostSeen:
    """Ports of an address. `tcp` and `udp` are None where nobody asked; `how` says what was asked."""

    host: str
    how: str
    tcp: tuple[int, ...] | None = None
    udp: tuple[int, ...] | None = None
    silent: int = 0
    banners: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TlsSeen:
    """What a TLS server showed; `problem` says why it is not known."""

    port: int
    fingerprint: str = ""
    version: str = ""
    cipher: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class SshSeen:
    """What an SSH server showed. `host_key` as in known_hosts; `problem` says what is not known, and why."""

    port: int
    identification: str = ""
    host_key: str = ""
    algorithms: dict[str, tuple[str, ...]] = field(default_factory=dict)
    methods: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class UnitSeen:
    """One Modbus unit: its function codes, None where it did not answer for all of them, and how it names itself."""

    unit: int
    functions: tuple[int, ...] | None
    names: dict[str, str]


@dataclass(frozen=True, slots=True)
class ModbusSeen:
    """The units that answered on one Modbus link; `how` says which were asked."""

    link: str
    how: str
    units: tuple[UnitSeen, ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class BusSeen:
    """One identifier on a CAN bus: how often it was seen, the mean time between two frames in seconds, its lengths."""

    can_id: int
    extended: bool
    frames: int
    period: float | None
    lengths: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class CanSeen:
    """The identifiers that were on a CAN bus within `seconds`."""

    seconds: float
    identifiers: tuple[BusSeen, ...]


@dataclass(frozen=True, slots=True)
class UdsIdentifier:
    """One data identifier that can be read; `scale` makes seconds of one that counts the time."""

    id: int
    data: bytes
    type: ValueType
    scale: float | None = None

    @property
    def text(self) -> str:
        """Its value to show."""
        return said(self.data) if self.type == "ascii" else self.data[:32].hex()


@dataclass(frozen=True, slots=True)
class UdsSeen:
    """A UDS server in its default session. `fields` are identifiers that are known for what they hold."""

    request_id: int
    response_id: int
    how: str
    services: tuple[int, ...] = ()
    identifiers: tuple[int, ...] = ()
    absent: int | None = None
    values: tuple[UdsIdentifier, ...] = ()
    fields: dict[str, UdsIdentifier] = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True, slots=True)
class ConsoleSeen:
    """What a console printed after a carriage return, at the speed at which it is readable."""

    baudrate: int | None
    lines: tuple[str, ...] = ()
    prompt: str = ""


@dataclass(slots=True)
class Scanned:
    """All that was seen."""

    host: HostSeen | None = None
    tls: list[TlsSeen] = field(default_factory=list)
    ssh: SshSeen | None = None
    modbus: list[ModbusSeen] = field(default_factory=list)
    can: CanSeen | None = None
    uds: list[UdsSeen] = field(default_factory=list)
    console: ConsoleSeen | None = None

    def identity(self) -> dict[str, str]:
        """Return manufacturer, model, serial and version, as far as the device named them."""
        found: dict[str, str] = {}
        for server in self.uds:
            found |= {name: value.text for name, value in server.fields.items() if value.type == "ascii"}
        for link in self.modbus:
            for unit in link.units:
                found = {**unit.names, **found}
        return {name: text for name, text in found.items() if name in ("manufacturer", "model", "serial", "version")}
