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

    serial: str = Field(description="Serial number the device must show; another one stops the run")
    grade: Grade = Field(
        description=(
            "How near the unit is to what is sold; stands in every result. On an emulated item a testcase that "
            "needs hardware is marked indicative"
        )
    )
    hardware: str = Field(default="", description="Board and revision, for the record")
    setup_code: str = Field(
        default="", description="Code on the unit's label that its first use asks for; masked in what is shown"
    )


def _no_number(value: object) -> object:
    if isinstance(value, int | float):  # pydantic would take it for seconds since 1970
        raise ValueError("not a date (YYYY-MM-DD), nor the words `not required`")
    return value


class Equipment(Strict):
    """A piece of bench equipment."""

    name: str = Field(description="What it is")
    maker: str = Field(default="", description="Who made it")
    model: str = Field(default="", description="Model")
    serial: str = Field(default="", description="Its serial number")
    calibration_due: Annotated[date | Literal["not required", ""], BeforeValidator(_no_number)] = Field(
        default="", description="Last day on which its calibration is good, `2027-06-30`"
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
        description=(
            "`/dev/…`, `usb:VID:PID[:SERIAL]`, `socket://`, `rfc2217://`, `unix:PATH` or `control:NAME`, as "
            "said under serial ports"
        )
    )
    baudrate: int = Field(gt=0)
    parity: Literal["N", "E", "O"]
    stopbits: Literal[1, 2] = Field(default=1, description="Stop bits")
    rs485: Rs485 | None = Field(default=None, description="The adapter's driver switches a two-wire line")

    @model_validator(mode="after")
    def _driver_switches(self) -> Self:
        if self.rs485 is not None and not self.port.startswith(("/", "usb:")):
            raise ValueError(f"rs485 is for an adapter of this computer, not for {self.port}")
        return self


class SerialLinkSpec(_SerialPort):
    """A serial port."""

    type: Literal["serial"] = "serial"
    baudrate: int = Field(default=115200, gt=0, description="Bits a second; 8 data bits")
    parity: Literal["N", "E", "O"] = Field(default="N", description="None, even, odd")


class CanLinkSpec(Strict):
    """A CAN bus by any python-can interface, or `socketcand` at `control:NAME`, `unix:PATH` or `tcp:HOST:PORT`."""

    type: Literal["can"] = "can"
    interface: str = Field(
        description="`socketcan` or any other interface of python-can; `socketcand` for a CAN bus over a socket"
    )
    channel: str = Field(description="`can0`, or the channel of the interface")
    bitrate: int = Field(
        default=500000,
        description="Bits a second: set where the interface sets it, compared with the one of `socketcan`",
    )
    port: str | None = Field(
        default=None, description="With `socketcand`: `control:NAME`, `unix:PATH` or `tcp:HOST:PORT`"
    )
    options: dict[str, Any] = Field(default={}, description="Further arguments of the interface")


class ModbusTcpLinkSpec(Strict):
    """Modbus over TCP."""

    type: Literal["modbus-tcp"] = "modbus-tcp"
    host: str = Field(description="Address")
    port: int = Field(default=502, ge=1, le=65535, description="TCP port")


class ModbusRtuLinkSpec(_SerialPort):
    """Modbus RTU on a serial port. Without parity the standard asks for two stop bits."""

    type: Literal["modbus-rtu"] = "modbus-rtu"
    baudrate: int = Field(default=19200, gt=0, description="Bits a second")
    parity: Literal["N", "E", "O"] = Field(
        default="E", description="None, even, odd; with `N` the standard asks for two stop bits"
    )


class SshLinkSpec(Strict):
    """SSH with a pinned host key. Paths are relative to the rig file."""

    type: Literal["ssh"] = "ssh"
    host: str = Field(description="Address")
    port: int = Field(default=22, ge=1, le=65535, description="TCP port")
    user: str = Field(description="Account the bench logs in with")
    key_file: str | None = Field(default=None, description="Private key of the bench, relative to the rig file")
    password: str | None = Field(default=None, description="Instead of a key")
    host_key: str = Field(
        description=(
            "Public host key as in `known_hosts`: `ssh-ed25519 AAAA…`. Another key is a fault of the bench: "
            "nothing is decided"
        )
    )


class TcpLinkSpec(Strict):
    """A TCP port; each session is a connection of its own. For a line behind a serial server see `serial`."""

    type: Literal["tcp"] = "tcp"
    host: str = Field(description="Address")
    port: int = Field(ge=1, le=65535, description="TCP port")


class NetworkLinkSpec(Strict):
    """The device's addresses on the test network."""

    type: Literal["network"] = "network"
    ipv4: str | None = Field(default=None, description="The device's IPv4 address")
    ipv6: str | None = Field(default=None, description="The device's IPv6 address")


class HttpLinkSpec(Strict):
    """An HTTP server. Its certificate is pinned, or verified by authorities (the system's where no file is given)."""

    type: Literal["https", "http"] = Field(default="https", description="Which kind")
    host: str = Field(description="Address")
    port: int = Field(default=443, ge=1, le=65535, description="TCP port")
    fingerprint: str | None = Field(
        default=None,
        pattern=r"^([0-9A-Fa-f]{2}:?){31}[0-9A-Fa-f]{2}$",
        description=(
            "SHA-256 of the certificate, hexadecimal, colons allowed. Another certificate is a fault of the "
            "bench: nothing is decided"
        ),
    )
    ca_file: str | None = Field(default=None, description="Certificates of authorities (PEM), relative to the rig file")
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

    rig: str = Field(
        pattern=r"^[a-z0-9][a-z0-9-]*$",
        description="Name: small letters, digits and dashes; part of the run folder's name",
    )
    device: str = Field(description="Path of the device file, relative to the rig file")
    operator: str = Field(default="unnamed operator", description="Who runs it; stands in the journal")
    item: Item = Field(description="The very unit")
    control: ControlSpec = Field(
        default=NoControl(), description="What the bench can do from outside, see the controls below"
    )
    reset_line: ResetLine | None = Field(
        default=None, description="The device's reset on a control line of a serial link"
    )
    permits: tuple[Effect, ...] = Field(
        default=(Effect.ACCOUNTS, Effect.CONFIGURATION),
        description=(
            "Effects that testcases may have on this unit: `accounts`, `configuration`, `data`, `firmware`, "
            "`irreversible`. A testcase with another effect is left out, by name"
        ),
    )
    targets: tuple[str, ...] = Field(
        default=(),
        description="Network addresses this rig may touch. Every address named under `links` must be among them",
    )
    links: dict[str, LinkSpec] = Field(
        description=(
            "Name of a link of the device → how it is wired, see the links below. A link that is not wired "
            "makes what needs it undecided"
        )
    )
    equipment: tuple[Equipment, ...] = Field(default=(), description="Bench equipment for the record")
    photos: tuple[str, ...] = Field(
        default=(),
        description=(
            "Photographs of the set-up, relative to the rig file. They are copied into the run folder; the "
            "journal holds their SHA-256"
        ),
    )
    answer_within: float = Field(
        default=2.0, gt=0, description="Seconds the device may take to answer an ordinary request; must be over 0"
    )
    link_back_within: float = Field(
        default=30.0,
        ge=0,
        description="Seconds a lost link (an adapter unplugged, a serial server restarted) is waited for",
    )
    bench_address: str | None = Field(
        default=None,
        description="The bench's own address in the device's network: from there it serves what a device fetches",
    )
    bundles: str | None = Field(
        default=None,
        description=(
            "Folder of update bundles, relative to the rig file; its `index.json` says for each name `file`, "
            "`version`, `sha256`, `expect` (`accepted`, `refused`, `rolled-back`) and `detail`, and of "
            "accepted ones `class` and `changes`"
        ),
    )

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
