"""The rig file: one wired bench or emulator, and what a test may do to it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from harness.rig.claim_base import BytesPattern, Strict

__all__ = [
    "CanLinkSpec",
    "CommandControl",
    "Effect",
    "Equipment",
    "Grade",
    "HttpLinkSpec",
    "Item",
    "LinkSpec",
    "ModbusRtuLinkSpec",
    "ModbusTcpLinkSpec",
    "NetworkLinkSpec",
    "NoControl",
    "ProcessControlSpec",
    "QemuControlSpec",
    "RigFile",
    "SerialLinkSpec",
    "SshLinkSpec",
    "TcpLinkSpec",
]


class Grade(StrEnum):
    """How near the item under test is to what is sold."""

    EMULATED = "emulated"
    ENGINEERING = "engineering"
    PRODUCTION_EQUIVALENT = "production-equivalent"


class Effect(StrEnum):
    """What a testcase may leave behind on the device, from harmless to heavy."""

    ACCOUNTS = "accounts"
    CONFIGURATION = "configuration"
    DATA = "data"
    FIRMWARE = "firmware"
    IRREVERSIBLE = "irreversible"


class Item(Strict):
    """The very unit on this rig."""

    serial: str
    grade: Grade
    hardware: str = ""
    setup_code: str = Field(default="", description="Code on the unit's label, for its first use; a credential")


class Equipment(Strict):
    """A piece of bench equipment."""

    name: str
    serial: str = ""
    calibration_due: str = ""


class SerialLinkSpec(Strict):
    """A serial port: a device path, `socket://`, `rfc2217://`, `unix:PATH`, or `control:NAME` of the emulator."""

    type: Literal["serial"] = "serial"
    port: str
    baudrate: int = 115200
    parity: Literal["N", "E", "O"] = "N"


class CanLinkSpec(Strict):
    """A CAN bus by any python-can interface, or `socketcand` at `control:NAME`, `unix:PATH` or `tcp:HOST:PORT`."""

    type: Literal["can"] = "can"
    interface: str
    channel: str
    bitrate: int = 500000
    port: str | None = None
    options: dict[str, Any] = Field(default={})


class ModbusTcpLinkSpec(Strict):
    """Modbus over TCP."""

    type: Literal["modbus-tcp"] = "modbus-tcp"
    host: str
    port: int = Field(default=502, ge=1, le=65535)


class ModbusRtuLinkSpec(Strict):
    """Modbus RTU on a serial port."""

    type: Literal["modbus-rtu"] = "modbus-rtu"
    port: str
    baudrate: int = 19200
    parity: Literal["N", "E", "O"] = "E"


class SshLinkSpec(Strict):
    """SSH with a pinned host key. Paths are relative to the rig file."""

    type: Literal["ssh"] = "ssh"
    host: str
    port: int = Field(default=22, ge=1, le=65535)
    user: str
    key_file: str | None = None
    password: str | None = None
    host_key: str = Field(description="Public host key as in known_hosts: `ssh-ed25519 AAAA…`")


class TcpLinkSpec(Strict):
    """A TCP port; each session is a connection of its own. For a line behind a serial server see `serial`."""

    type: Literal["tcp"] = "tcp"
    host: str
    port: int = Field(ge=1, le=65535)


class NetworkLinkSpec(Strict):
    """The device's addresses on the test network."""

    type: Literal["network"] = "network"
    ipv4: str | None = None
    ipv6: str | None = None


class HttpLinkSpec(Strict):
    """An HTTP server. Its certificate is pinned, or verified by authorities (the system's where no file is given)."""

    type: Literal["https", "http"] = "https"
    host: str
    port: int = Field(default=443, ge=1, le=65535)
    fingerprint: str | None = Field(
        default=None,
        pattern=r"^([0-9A-Fa-f]{2}:?){31}[0-9A-Fa-f]{2}$",
        description="SHA-256 of the certificate, hexadecimal, colons allowed",
    )
    ca_file: str | None = Field(default=None, description="Authorities, PEM")
    server_name: str | None = Field(default=None, description="Name in the certificate, where `host` is not it")


LinkSpec = Annotated[
    SerialLinkSpec
    | CanLinkSpec
    | ModbusTcpLinkSpec
    | ModbusRtuLinkSpec
    | SshLinkSpec
    | TcpLinkSpec
    | NetworkLinkSpec
    | HttpLinkSpec,
    Field(discriminator="type"),
]


class QemuControlSpec(Strict):
    """An emulated device: the machine description comes from the image build."""

    type: Literal["qemu"] = "qemu"
    machine: str = Field(description="`device.json` of the image build, relative to the rig file")
    weaknesses: tuple[str, ...] = Field(default=(), description="Flaws of the fixture to switch on, by name")
    settle: BytesPattern = Field(default="", description="Regular expression on the console that says the device is up")
    settle_within: float = Field(default=60.0, description="Seconds from power-on")


class ProcessControlSpec(Strict):
    """A device that is a program, run in a private network namespace."""

    type: Literal["process"] = "process"
    command: tuple[str, ...] = Field(
        description="`{run_dir}`, `{data_dir}`, `{address}`, `{rig_dir}`, `{python}` are filled in"
    )
    weaknesses: tuple[str, ...] = ()
    address: str = "192.0.2.10"
    address6: str = "2001:db8::10"


class CommandControl(Strict):
    """Power by commands of the bench."""

    type: Literal["command"] = "command"
    power_on: tuple[str, ...]
    power_off: tuple[str, ...]
    reset: tuple[str, ...] = ()
    timeout: float = 30.0


class NoControl(Strict):
    """Nothing can be switched from outside."""

    type: Literal["none"] = "none"


ControlSpec = Annotated[
    QemuControlSpec | ProcessControlSpec | CommandControl | NoControl,
    Field(discriminator="type"),
]


class RigFile(Strict):
    """One wired bench or emulator."""

    rig: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    device: str = Field(description="Device file, relative to this file")
    operator: str = "unnamed operator"
    item: Item
    control: ControlSpec = NoControl()
    permits: tuple[Effect, ...] = Field(
        default=(Effect.ACCOUNTS, Effect.CONFIGURATION), description="Effects a testcase may have"
    )
    targets: tuple[str, ...] = Field(default=(), description="Network addresses a test may touch")
    links: dict[str, LinkSpec]
    equipment: tuple[Equipment, ...] = ()
    answer_within: float = Field(default=2.0, gt=0, description="Seconds a device may take to answer")
    bench_address: str | None = Field(
        default=None, description="The bench's own address in the device's network, for what the device fetches"
    )
    bundles: str | None = Field(default=None, description="Folder of update bundles with `index.json`")

    @model_validator(mode="after")
    def _targets_named(self) -> RigFile:
        for address in (*self.targets, *filter(None, [self.bench_address])):
            try:
                address.encode("idna")  # as it is done where it is looked up
            except UnicodeError as error:
                raise ValueError(f"{address!r} is no address and no name: {error}") from None
        for name, spec in self.links.items():
            hosts = [getattr(spec, "host", None), getattr(spec, "ipv4", None), getattr(spec, "ipv6", None)]
            for host in hosts:
                if host is not None and host not in self.targets:
                    raise ValueError(f"links.{name}: {host} is not among the targets this rig may touch")
        return self
