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


class StorageLimits(Strict):
    """How much of the device's media is read at most, and for how long."""

    most_bytes: int = Field(default=32 * 2**30, gt=0, description="Bytes that the image may have")
    within: float = Field(default=3600.0, gt=0, description="Seconds that reading may take")


class CommandStorage(StorageLimits):
    """The media read out by a command of the bench."""

    command: tuple[str, ...] = Field(min_length=1, description="Leaves the image of the media at `{image}`")

    @model_validator(mode="after")
    def _names_image(self) -> CommandStorage:
        if not any("{image}" in part for part in self.command):
            raise ValueError("the command names no `{image}`, the file to leave the image at")
        return self


class CommandControl(Strict):
    """Power by commands of the bench."""

    type: Literal["command"] = "command"
    power_on: tuple[str, ...]
    power_off: tuple[str, ...]
    reset: tuple[str, ...] = ()
    storage: CommandStorage | None = None
    timeout: float = 30.0


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

    least: float
    most: float

    @model_validator(mode="after")
    def _in_order(self) -> Limits:
        if not self.least <= self.most:
            raise ValueError(f"least {self.least:g} is over most {self.most:g}")
        return self


class ScpiControlSpec(Strict):
    """Power by a laboratory supply that speaks SCPI. Voltage (V) and current (A) are measured after each switching."""

    type: Literal["scpi"] = "scpi"
    resource: Annotated[str, AfterValidator(_visa_resource)] = Field(description="VISA resource of the supply")
    identity: Pattern = Field(description="Regular expression found in the answer to `*IDN?`")
    on_volts: Limits = Field(description="Voltage with the output on")
    on_amps: Limits | None = Field(default=None, description="Current with the output on")
    off_volts: float = Field(default=0.5, ge=0, description="Voltage with the output off, at most")
    select: ScpiText | None = Field(default=None, description="Selects the output, sent first: `INST:NSEL 1`")
    power_on: ScpiText = "OUTP ON"
    power_off: ScpiText = "OUTP OFF"
    output: ScpiText = Field(default="OUTP?", description="Asks whether the output is on: `1`, `0`, `ON`, `OFF`")
    voltage: ScpiText = "MEAS:VOLT?"
    current: ScpiText = "MEAS:CURR?"
    errors: ScpiText | None = Field(default="SYST:ERR?", description="Asks for an error; null where it knows none")
    settle: float = Field(default=5.0, gt=0, description="Seconds from switching until the limits hold")
    timeout: float = Field(default=5.0, gt=0, description="Seconds for one answer")
    baudrate: int = Field(default=9600, description="Bits a second, of a serial resource")


class OperatorStorage(StorageLimits):
    """The media taken out by a person, who says where the bench can read them."""

    take_out: str = Field(min_length=1, description="What the person is told to do")
    put_back: str = Field(default="Put the medium back into the device.", min_length=1)


class OperatorControlSpec(Strict):
    """Power by a person at the bench, who is asked on the terminal. Without `reset` or `storage` there is none."""

    type: Literal["operator"] = "operator"
    power_on: str = Field(default="Switch the device on.", min_length=1, description="What the person is told to do")
    power_off: str = Field(default="Switch the device off.", min_length=1)
    reset: str = ""
    storage: OperatorStorage | None = None
    timeout: float = Field(default=300.0, gt=0, description="Seconds for one question")


class LabgridStorage(StorageLimits):
    """The medium switched to this computer by a multiplexer of the place."""

    mux: Literal["sd-mux", "usb-mux"] = Field(description="Command of `labgrid-client` that switches it")
    name: str | None = Field(default=None, description="Name of its resource, where the place has several")
    path: str = Field(pattern="^/", description="Block device that the medium is on this computer: /dev/disk/by-id/…")
    switch_within: float = Field(default=30.0, gt=0, description="Seconds until the medium has come, or gone")


class LabgridControlSpec(Strict):
    """Power by a place of a labgrid coordinator, acquired for the run."""

    type: Literal["labgrid"] = "labgrid"
    place: str = Field(pattern=r"^[^\s+'-][^\s']*$", description="Whole name of the place, no alias")
    coordinator: str = Field(default="127.0.0.1:20408", pattern=r"^[^\s-]\S*$", description="HOST:PORT")
    client: str = Field(
        default="labgrid-client",
        min_length=1,
        description="Program of labgrid's own environment: a path relative to the rig file, or a name on PATH",
    )
    name: str | None = Field(default=None, description="Name of the power port, where the place has several")
    off_seconds: float = Field(default=2.0, ge=0, description="Seconds without power in a reset")
    reads_back: bool = Field(default=True, description="Whether the port can be asked if it is on")
    settle: float = Field(default=5.0, ge=0, description="Seconds from switching until the port says so")
    timeout: float = Field(default=30.0, gt=0, description="Seconds for one call of the client")
    storage: LabgridStorage | None = None


class NoControl(Strict):
    """Nothing can be switched from outside."""

    type: Literal["none"] = "none"


class ResetLine(Strict):
    """The device's reset on a control line of a serial link."""

    link: str
    line: Literal["dtr", "rts"]
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
