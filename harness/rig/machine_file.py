"""`device.json`: an emulated device as the build of its image describes it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.errors import ControlFault, UsageError
from harness.rig.claim_base import Strict

__all__ = ["BUILD_HINT", "MachineFile", "MachineWeakness", "Ready", "load_machine_file"]

BUILD_HINT = "build the firmware fixture first: make firmware"


class Ready(Strict):
    """How the device says on its link `console` that it is up."""

    console: str = Field(min_length=1, description="Text that is printed last")
    within_s: float = Field(default=60.0, gt=0, description="Seconds from power-on until then")


class MachineWeakness(BaseModel):
    """What switches a flaw on, beside its name in `{weaknesses}`."""

    bit: int | None = Field(default=None, ge=0, lt=64, description="Bit of `{weakness_mask}`")
    files: Mapping[str, str] = Field(default={}, description="Images that take the place of those in `files`")


class ImageHash(BaseModel):
    """What the build made."""

    sha256: str


class MachineFile(BaseModel):
    """What a runner needs to know of an emulated device. A build may write more, which is not read."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    version_of_schema: Literal[2] = Field(alias="schema")
    device: str = Field(description="Name of the device")
    qemu: str = Field(description="The emulator's program")
    machine: tuple[str, ...] = Field(description="Arguments that choose machine and processor")
    arguments: tuple[str, ...] = Field(description="The other arguments that say what the hardware is")
    memory_mb: int = Field(gt=0, description="Memory in MiB")
    files: Mapping[str, str] = Field(default={}, description="Images by name, relative to this file")
    weaknesses: Mapping[str, MachineWeakness] = Field(default={}, description="Flaws that can be switched on")
    ready: Ready | None = Field(default=None, description="How the console says that the device is up")
    images: Mapping[str, ImageHash] = Field(default={}, description="SHA-256 of what the build made, by file name")
    packages_lock_sha256: str = Field(default="", description="Of the list of packages the image was built from")


def load_machine_file(path: Path) -> MachineFile:
    """Read the description.

    Raises:
        ControlFault: it is not there.
        UsageError: it cannot be read, or is of another make.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise ControlFault(f"the firmware fixture {path} is not built", hint=BUILD_HINT) from None
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror}", where=str(path)) from error
    try:
        return MachineFile.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        raise UsageError(
            f"not a device description: {key + ': ' if key else ''}{first['msg']}",
            where=str(path),
            hint=f"docs/emulated-device.md has every key; {BUILD_HINT}",
        ) from error
