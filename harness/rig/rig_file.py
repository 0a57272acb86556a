"""The rig file: one wired bench or emulator, and what a test may do to it."""

from __future__ import annotations

import re
from datetime import date
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from harness.rig.claim_base import Strict
from harness.rig.control_specs import (
    CommandControl,
    ControlSpec,
    LabgridControlSpec,
    NoControl,
    OperatorControlSpec,
    ProcessControlSpec,
    QemuControlSpec,
    ResetLine,
    ScpiControlSpec,
)

__all__ = [
    "USB_PORT",
    "CanLinkSpec",
    "CommandControl",
    "ControlSpec",
    "Effect",
    "Equipment",
    "Grade",
    "HttpLinkSpec",
    "Item",
    "LabgridControlSpec",
    "LinkSpec",
    "ModbusRtuLinkSpec",
    "ModbusTcpLinkSpec",
    "NetworkLinkSpec",
    "NoControl",
    "OperatorControlSpec",
    "ProcessControlSpec",
    "QemuControlSpec",
    "RigFile",
    "Rs485",
    "ScpiControlSpec",
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


def _no_number(value: object) -> object:
    if isinstance(value, int | float):  # pydantic would take it for seconds since 1970
        raise ValueError("not a date (YYYY-MM-DD), nor the words `not required`")
    return value


class Equipment(Strict):
    """A piece of bench equipment."""

    name: str
    maker: str = ""
    model: str = ""
    serial: str = ""
    calibration_due: Annotated[date | Literal["not required", ""], BeforeValidator(_no_number)] = Field(
        default="", description="Last day of the calibration, YYYY-MM-DD, or `not required`"
    )


class Rs485(Strict):
    """Two-wire RS-485 switched by the adapter's driver with RTS. An adapter that switches by itself needs none."""

    rts_sends: bool = Field(default=True, description="State of RTS while the bench sends")
    rts_receives: bool = Field(default=False, description="State of RTS while it receives")
    before_sending: float = Field(default=0.0, ge=0, le=1, description="Seconds between RTS and the first byte")
    after_sending: float = Field(default=0.0, ge=0, le=1, description="Seconds between the last byte and RTS")


USB_PORT = re.compile(r"usb:(?P<vid>[0-9A-Fa-f]{4}):(?P<pid>[0-9A-Fa-f]{4})(?::(?P<serial>.+))?")
"""`usb:0403:6001` or `usb:0403:6001:A10K3XYZ`: vendor and product in hexadecimal, as `lsusb` shows them."""


def _serial_port(text: str) -> str:
    if text.startswith("usb:") and not USB_PORT.fullmatch(text):
        raise ValueError("not usb:VID:PID or usb:VID:PID:SERIAL; `lsusb` shows both numbers")
    return text


class _SerialPort(Strict):
    """What is common to links over a serial port."""

    port: Annotated[str, AfterValidator(_serial_port)] = Field(
        description="/dev/…, usb:VID:PID[:SERIAL], socket://, rfc2217://, unix:PATH, control:NAME of the emulator"
    )
    baudrate: int = Field(gt=0)
    parity: Literal["N", "E", "O"]
    stopbits: Literal[1, 2] = 1
    rs485: Rs485 | None = None

    @model_validator(mode="after")
    def _driver_switches(self) -> Self:
        if self.rs485 is not None and not self.port.startswith(("/", "usb:")):
            raise ValueError(f"rs485 is for an adapter of this computer, not for {self.port}")
        return self


class SerialLinkSpec(_SerialPort):
    """A serial port."""

    type: Literal["serial"] = "serial"
    baudrate: int = Field(default=115200, gt=0)
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


class ModbusRtuLinkSpec(_SerialPort):
    """Modbus RTU on a serial port. Without parity the standard asks for two stop bits."""

    type: Literal["modbus-rtu"] = "modbus-rtu"
    baudrate: int = Field(default=19200, gt=0)
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


class RigFile(Strict):
    """One wired bench or emulator."""

    rig: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    device: str = Field(description="Device file, relative to this file")
    operator: str = "unnamed operator"
    item: Item
    control: ControlSpec = NoControl()
    reset_line: ResetLine | None = Field(default=None, description="The device's reset on a serial link's control line")
    permits: tuple[Effect, ...] = Field(
        default=(Effect.ACCOUNTS, Effect.CONFIGURATION), description="Effects a testcase may have"
    )
    targets: tuple[str, ...] = Field(default=(), description="Network addresses a test may touch")
    links: dict[str, LinkSpec]
    equipment: tuple[Equipment, ...] = ()
    photos: tuple[str, ...] = Field(default=(), description="Photographs of the set-up, relative to this file")
    answer_within: float = Field(default=2.0, gt=0, description="Seconds a device may take to answer")
    link_back_within: float = Field(
        default=30.0, ge=0, description="Seconds a lost link (an adapter unplugged) is waited for until it is back"
    )
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

    @model_validator(mode="after")
    def _reset_line_wired(self) -> Self:
        if self.reset_line is None:
            return self
        link = self.links.get(self.reset_line.link)
        if not isinstance(link, SerialLinkSpec) or not link.port.startswith(("/", "usb:", "rfc2217://")):
            raise ValueError(f"reset_line: {self.reset_line.link!r} is no serial link with control lines")
        if isinstance(self.control, QemuControlSpec | ProcessControlSpec):
            raise ValueError(f"reset_line: a device of control {self.control.type!r} has none")
        return self
