"""The controls of a rig file: who or what switches the device's power and pulls its reset."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from harness.rig.claim_base import BytesPattern, Pattern, Strict

__all__ = [
    "CommandControl",
    "CommandStorage",
    "ControlSpec",
    "LabgridControlSpec",
    "LabgridStorage",
    "Limits",
    "NoControl",
    "OperatorControlSpec",
    "OperatorStorage",
    "ProcessControlSpec",
    "QemuControlSpec",
    "ResetLine",
    "ScpiControlSpec",
    "StorageLimits",
]


class QemuControlSpec(Strict):
    """An emulated device: the machine description comes from the image build."""

    type: Literal["qemu"] = "qemu"
    machine: str = Field(description="The machine file, `device.json`, relative to the rig file")
    weaknesses: tuple[str, ...] = Field(
        default=(), description="Flaws of the fixture to switch on; `--weakness` does the same for one run"
    )
    settle: BytesPattern = Field(default="", description="Regular expression on the console that says the device is up")
    settle_within: float = Field(default=60.0, description="Seconds from power-on until then")


class ProcessControlSpec(Strict):
    """A device that is a program, run in a private network namespace."""

    type: Literal["process"] = "process"
    command: tuple[str, ...] = Field(
        description=(
            "Program and arguments; `{run_dir}`, `{data_dir}` (kept over power cycles, emptied by a restore), "
            "`{address}`, `{rig_dir}`, `{python}` are filled in. It prints `ready` when its interfaces are "
            "there. If it listens on `{run_dir}/agent.sock`, a line `break NAME` there (answered `ok`) is a "
            "break on its serial line NAME"
        )
    )
    weaknesses: tuple[str, ...] = Field(default=(), description="Appended as `--weakness A,B`")
    address: str = Field(default="192.0.2.10", description="The device's IPv4 address")
    address6: str = Field(default="2001:db8::10", description="The device's IPv6 address")


class StorageLimits(Strict):
    """How much of the device's media is read at most, and for how long."""

    most_bytes: int = Field(
        default=32 * 2**30,
        gt=0,
        description=(
            "Bytes that the image of the medium may have; a larger one, and one for which the disk has no "
            "room, is refused"
        ),
    )
    within: float = Field(default=3600.0, gt=0, description="Seconds that reading may take")


class CommandStorage(StorageLimits):
    """The media read out by a command of the bench."""

    command: tuple[str, ...] = Field(
        min_length=1, description="Program and arguments, no shell; it leaves the image of the media at `{image}`"
    )

    @model_validator(mode="after")
    def _names_image(self) -> CommandStorage:
        if not any("{image}" in part for part in self.command):
            raise ValueError("the command names no `{image}`, the file to leave the image at")
        return self


class CommandControl(Strict):
    """Power by commands of the bench."""

    type: Literal["command"] = "command"
    power_on: tuple[str, ...] = Field(description="Program and arguments, no shell")
    power_off: tuple[str, ...] = Field(description="The same")
    reset: tuple[str, ...] = Field(default=(), description="The same")
    storage: CommandStorage | None = Field(
        default=None, description="How the media are read out; without it they are not"
    )
    timeout: float = Field(default=30.0, description="Seconds one command may take, the one for the storage apart")


def _visa_resource(text: str) -> str:
    from pyvisa.rname import InvalidResourceName, parse_resource_name  # noqa: PLC0415  (only rigs with a supply need it)

    try:
        parse_resource_name(text)
    except InvalidResourceName as error:
        raise ValueError(f"no VISA resource, as TCPIP::192.0.2.20::5025::SOCKET: {error}") from None
    return text


ScpiText = Annotated[str, Field(pattern=r"^[ -~]+$")]
"""One SCPI command: printable ASCII, no line end."""


class Limits(Strict):
    """A range that a measured value must lie in."""

    least: float = Field(description="Lowest value that is right")
    most: float = Field(description="Highest value that is right")

    @model_validator(mode="after")
    def _in_order(self) -> Limits:
        if not self.least <= self.most:
            raise ValueError(f"least {self.least:g} is over most {self.most:g}")
        return self


class ScpiControlSpec(Strict):
    """Power by a laboratory supply that speaks SCPI. Voltage (V) and current (A) are measured after each switching."""

    type: Literal["scpi"] = "scpi"
    resource: Annotated[str, AfterValidator(_visa_resource)] = Field(
        description=(
            "VISA resource: `TCPIP::192.0.2.20::5025::SOCKET`, `TCPIP::192.0.2.20::INSTR`, `ASRL/dev/ttyUSB0::INSTR`"
        )
    )
    identity: Pattern = Field(
        description="Regular expression found in the answer to `*IDN?`, best with the serial number in it"
    )
    on_volts: Limits = Field(description="Voltage with the output on")
    on_amps: Limits | None = Field(default=None, description="Current with the output on; not measured without")
    off_volts: float = Field(default=0.5, ge=0, description="Voltage with the output off, at most, of either sign")
    select: ScpiText | None = Field(
        default=None, description="Command that selects the output, sent first: `INST:NSEL 1`"
    )
    power_on: ScpiText = Field(default="OUTP ON", description="Command")
    power_off: ScpiText = Field(default="OUTP OFF", description="Command")
    output: ScpiText = Field(default="OUTP?", description="Asks whether the output is on: `1`, `0`, `ON`, `OFF`")
    voltage: ScpiText = Field(default="MEAS:VOLT?", description="Asks for a measured voltage")
    current: ScpiText = Field(default="MEAS:CURR?", description="Asks for a measured current")
    errors: ScpiText | None = Field(
        default="SYST:ERR?", description="Asks for an error after each switching; `null` where the supply knows none"
    )
    settle: float = Field(default=5.0, gt=0, description="Seconds from switching until the limits hold")
    timeout: float = Field(default=5.0, gt=0, description="Seconds for one answer")
    baudrate: int = Field(default=9600, description="Bits a second, of a serial resource")


class OperatorStorage(StorageLimits):
    """The media taken out by a person, who says where the bench can read them."""

    take_out: str = Field(min_length=1, description="What the person is told to do")
    put_back: str = Field(
        default="Put the medium back into the device.", min_length=1, description="The same, when the medium was read"
    )


class OperatorControlSpec(Strict):
    """Power by a person at the bench, who is asked on the terminal. Without `reset` or `storage` there is none."""

    type: Literal["operator"] = "operator"
    power_on: str = Field(default="Switch the device on.", min_length=1, description="What the person is told to do")
    power_off: str = Field(default="Switch the device off.", min_length=1, description="The same")
    reset: str = Field(default="", description="The same; without it there is no reset")
    storage: OperatorStorage | None = Field(
        default=None, description="How the medium is taken out; without it it is not"
    )
    timeout: float = Field(default=300.0, gt=0, description="Seconds for one question and its confirmation")


class LabgridStorage(StorageLimits):
    """The medium switched to this computer by a multiplexer of the place."""

    mux: Literal["sd-mux", "usb-mux"] = Field(description="Command of `labgrid-client` that switches the medium")
    name: str | None = Field(default=None, description="Name of the multiplexer, where the place has several")
    path: str = Field(pattern="^/", description="Block device that the medium is on this computer: `/dev/disk/by-id/…`")
    switch_within: float = Field(default=30.0, gt=0, description="Seconds until the medium has come, or gone")


class LabgridControlSpec(Strict):
    """Power by a place of a labgrid coordinator, acquired for the run."""

    type: Literal["labgrid"] = "labgrid"
    place: str = Field(
        pattern=r"^[^\s+'-][^\s']*$",
        description="Whole name of the place; no part of it and no alias, which may be somebody else's device",
    )
    coordinator: str = Field(default="127.0.0.1:20408", pattern=r"^[^\s-]\S*$", description="HOST:PORT")
    client: str = Field(
        default="labgrid-client",
        min_length=1,
        description="Program of labgrid's own environment: a path relative to the rig file, or a name on PATH",
    )
    name: str | None = Field(default=None, description="Name of the power port, where the place has several")
    off_seconds: float = Field(
        default=2.0, ge=0, description="Seconds without power in a reset, which is the port off and on again"
    )
    reads_back: bool = Field(
        default=True, description="Whether the port can be asked if it is on; `false` for one that cannot say"
    )
    settle: float = Field(default=5.0, ge=0, description="Seconds from switching until the port says so")
    timeout: float = Field(default=30.0, gt=0, description="Seconds for one call of the client")
    storage: LabgridStorage | None = Field(default=None, description="How the medium is read out; without it it is not")


class NoControl(Strict):
    """Nothing can be switched from outside."""

    type: Literal["none"] = "none"


class ResetLine(Strict):
    """The device's reset on a control line of a serial link."""

    link: str = Field(description="A `serial` link with a device path, `usb:` or `rfc2217://`")
    line: Literal["dtr", "rts"] = Field(description="The control line")
    seconds: float = Field(default=0.2, gt=0, le=10, description="Length of the pulse")
    resting: bool = Field(default=True, description="State of the line outside the pulse: asserted, or not")


ControlSpec = Annotated[
    QemuControlSpec
    | ProcessControlSpec
    | CommandControl
    | ScpiControlSpec
    | OperatorControlSpec
    | LabgridControlSpec
    | NoControl,
    Field(discriminator="type"),
]
