"""An emulated device as QEMU sees it: what it is made of, and the command line that makes it."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType

from harness.control.agent import NO_WEAKNESS
from harness.control.emulators import emulator_package
from harness.errors import ControlFault, UsageError
from harness.rig.machine_file import BUILD_HINT, load_machine_file

__all__ = ["MachineFiles", "QemuMachine", "Ram", "load_machine"]

AGENT = "agent"
"""Name of the bench agent's link, on machines that have one."""
_VERSION_S = 10.0
_PLACEHOLDER = re.compile(r"\{([a-z0-9_]+)\}")
_CHARDEV = re.compile(r"\{([a-z0-9_]+)_chardev\}")


class Ram(StrEnum):
    """Where the guest's memory lives."""

    ANONYMOUS = "anonymous"
    SHARED = "shared"
    """In a file that keeps it: the making of a template."""
    PRIVATE = "private"
    """A copy-on-write view of a template's file, which never changes."""


@dataclass(frozen=True, slots=True)
class QemuMachine:
    """One kind of emulated device, with a set of weaknesses.

    `args` say what the hardware is (`-M`, `-cpu`, every `-device`), with names in braces for the bench's end:
    `{LINK_chardev}` for each link (`-serial chardev:{console_chardev}`), `{netdev}` (without it the device has no
    network), `{weaknesses}`, `{weakness_mask}`, and `{NAME}` for each of the `images`. The image `disk` is a
    self-contained qcow2 that is never written to. `{weaknesses}` is `-` when there are none, because QEMU refuses an
    empty fw_cfg item; `{weakness_mask}` is a number with the bit of each weakness set. `agent` names the link of the
    bench agent, None where there is none.
    """

    binary: str
    args: tuple[str, ...]
    memory_mib: int
    images: Mapping[str, Path] = field(default_factory=lambda: MappingProxyType({}))
    agent: str | None = None
    weaknesses: frozenset[str] = frozenset()
    weakness_mask: int = 0
    accel: str = "tcg"
    build_hint: str = BUILD_HINT

    @property
    def links(self) -> tuple[str, ...]:
        """The names of the links, in the order of `args`."""
        return _links(self.args)

    @property
    def disk(self) -> Path | None:
        """The disk image, for a machine that has one."""
        return self.images.get("disk")

    def check(self) -> None:
        """Find what is missing before anything is started.

        Raises:
            ControlFault: QEMU is not installed or an image is not built; the hint says how to get it.
            UsageError: the description contradicts itself.
        """
        for program, package in ((self.binary, emulator_package(self.binary)), ("qemu-img", "qemu-utils")):
            if shutil.which(program) is None:
                raise ControlFault(f"{program} is not installed", hint=f"apt-get install {package}")
        for file in self.images.values():
            if not file.is_file():
                raise ControlFault(f"the image {file} is not there", hint=self.build_hint)
        if self.agent is not None and self.agent not in self.links:
            raise UsageError(f"the bench agent's link {self.agent!r} is not among {list(self.links)}")
        wanted = set(_PLACEHOLDER.findall(" ".join(self.args)))
        known = {"netdev", "weaknesses", "weakness_mask", *self.images, *(f"{link}_chardev" for link in self.links)}
        if unknown := sorted(wanted - known):
            raise UsageError(f"the machine's arguments name {unknown}, which nothing fills in")
        for weakness in self.weaknesses:
            if "," in weakness or weakness in ("", NO_WEAKNESS):
                raise UsageError(f"weakness name {weakness!r}: not empty, not '-', and without a comma")

    def version(self) -> str:
        """The emulator's own version line.

        Raises:
            ControlFault: it does not run.
        """
        try:
            done = subprocess.run(
                [self.binary, "--version"], capture_output=True, text=True, timeout=_VERSION_S, check=True
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise ControlFault(f"{self.binary} does not run: {error}") from error
        return done.stdout.splitlines()[0]

    def identity(self) -> dict[str, object]:
        """What makes two machines the same, but for the content of their images."""
        return {
            "args": list(self.args),
            "memory_mib": self.memory_mib,
            "weaknesses": sorted(self.weaknesses),
            "accel": self.accel,
        }

    def command_line(self, files: MachineFiles) -> list[str]:
        """The argv of one paused QEMU process on `files`; its monitor is descriptor 3."""
        values = {name: _escaped(path) for name, path in files.images.items()}
        values |= {f"{link}_chardev": link for link in self.links}
        values |= {"netdev": "net0", "weaknesses": ",,".join(sorted(self.weaknesses)) or NO_WEAKNESS}
        values["weakness_mask"] = str(self.weakness_mask)
        ours = ["-accel", self.accel, "-m", str(self.memory_mib), "-S"]
        ours += ["-nodefaults", "-no-user-config", "-display", "none"]
        ours += ["-action", "shutdown=pause"]  # a guest that switches itself off stays visible
        ours += ["-machine", "memory-backend=ram", "-object", self._memory(files)]
        ours += ["-chardev", "socket,id=qmp,fd=3", "-mon", "chardev=qmp,mode=control"]
        if any("{netdev}" in each for each in self.args):
            # without vnet_hdr the capture shows frames as they are: real checksums, no giant segments
            ours += ["-netdev", "tap,id=net0,ifname=tap0,script=no,downscript=no,vnet_hdr=off"]
        for link in self.links:
            ours += ["-chardev", f"socket,id={link},path={_escaped(files.run_dir / link)},server=on,wait=off"]
        if files.incoming:
            ours += ["-incoming", "defer"]
        return [self.binary, *ours, *(_PLACEHOLDER.sub(lambda m: values[m[1]], each) for each in self.args)]

    def _memory(self, files: MachineFiles) -> str:
        if files.ram is Ram.ANONYMOUS or files.ram_file is None:
            return f"memory-backend-ram,id=ram,size={self.memory_mib}M"
        share = "on" if files.ram is Ram.SHARED else "off"
        path = _escaped(files.ram_file)
        return f"memory-backend-file,id=ram,size={self.memory_mib}M,mem-path={path},share={share}"


@dataclass(frozen=True, slots=True)
class MachineFiles:
    """What one QEMU process works on: the folder of its sockets, its images, its memory.

    `images` are those of the machine with the disk replaced by an overlay of this process's own. With
    `incoming` it waits for a saved state instead of starting from the reset vector.
    """

    run_dir: Path
    images: Mapping[str, Path]
    ram: Ram = Ram.ANONYMOUS
    ram_file: Path | None = None
    incoming: bool = False


def load_machine(description: Path, *, weaknesses: frozenset[str] = frozenset()) -> QemuMachine:
    """The machine that a firmware fixture's build has described in its `device.json`.

    Raises:
        ControlFault: it is not built.
        UsageError: the description is of another make, or names no such weakness.
    """
    made = load_machine_file(description)
    if unknown := sorted(weaknesses - made.weaknesses.keys()):
        raise UsageError(
            f"{made.device} has no weakness {', '.join(map(repr, unknown))}",
            where=str(description),
            hint=f"it has: {', '.join(made.weaknesses) or 'none'}",
        )
    folder = description.parent.absolute()
    chosen = [made.weaknesses[name] for name in sorted(weaknesses)]
    files = dict(made.files)
    for weakness in chosen:
        files |= weakness.files
    args = (*made.machine, *made.arguments)
    return QemuMachine(
        binary=made.qemu,
        args=args,
        memory_mib=made.memory_mb,
        images=MappingProxyType({name: folder / file for name, file in files.items()}),
        agent=AGENT if AGENT in _links(args) else None,
        weaknesses=weaknesses,
        weakness_mask=sum(1 << weakness.bit for weakness in chosen if weakness.bit is not None),
    )


def _links(args: Sequence[str]) -> tuple[str, ...]:
    return tuple(_CHARDEV.findall(" ".join(args)))


def _escaped(path: Path) -> str:
    """A path as a value of a QEMU option, where a comma is written twice."""
    return str(path).replace(",", ",,")
