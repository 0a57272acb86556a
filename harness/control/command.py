"""Control by commands from the rig file: a relay card, a PDU, a lab power supply with a command line."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.control.base import Capability, ControlEvent, EventKind, EventLog, Incapable, RestoreReport, no_capability
from harness.control.medium import MediumImage
from harness.control.program import Done, run_program
from harness.errors import ControlFault, UsageError

__all__ = ["CommandControl", "Commands"]


@dataclass(frozen=True, slots=True)
class Commands:
    """The argv of each operation (no shell); None where the bench has no means for it.

    `status` exits with 0 while the device has power. `storage` leaves the image of the media at `{image}`, within
    `storage_s` seconds. `timeout_s` holds for each other command.
    """

    power_on: tuple[str, ...] | None = None
    power_off: tuple[str, ...] | None = None
    cut: tuple[str, ...] | None = None
    reset: tuple[str, ...] | None = None
    restore: tuple[str, ...] | None = None
    status: tuple[str, ...] | None = None
    storage: tuple[str, ...] | None = None
    timeout_s: float = 30.0
    storage_s: float = 0.0


class CommandControl(Incapable):
    """Carries out each operation by one command. `image` is kept for the storage, where there is a command for it.

    Raises:
        UsageError: a command names a program that is not there, or power can be given but not taken.
    """

    kind = "command"

    def __init__(self, commands: Commands, *, image: MediumImage | None = None) -> None:
        self._commands = commands
        self._image = image
        self._events = EventLog()
        self._powered = True
        given = {
            Capability.CUT: commands.cut,
            Capability.RESET: commands.reset,
            Capability.RESTORE: commands.restore,
            Capability.POWER: commands.power_on,
            Capability.STORAGE: commands.storage,
        }
        if (commands.power_on is None) != (commands.power_off is None):
            raise UsageError("control commands: power_on and power_off belong together; give both or neither")
        for argv in (*given.values(), commands.power_off, commands.status):
            if argv is not None and (not argv or shutil.which(argv[0]) is None):
                raise UsageError(
                    f"control command not found: {list(argv)}",
                    hint="give the full path, or install the program on the bench computer",
                )
        self._capabilities = frozenset(name for name, argv in given.items() if argv is not None)

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Those that have a command."""
        return self._capabilities

    @property
    def events(self) -> tuple[ControlEvent, ...]:
        """Only what was asked: commands see nothing else."""
        return self._events.all()

    def power_on(self) -> None:
        """Run the power_on command."""
        self._run(Capability.POWER, self._commands.power_on)
        self._powered = True

    def power_off(self) -> None:
        """Run the power_off command."""
        self._run(Capability.POWER, self._commands.power_off)
        self._powered = False
        self._events.add(EventKind.SHUTDOWN, asked=True, detail="power_off command")

    def cut(self) -> None:
        """Run the cut command."""
        self._run(Capability.CUT, self._commands.cut)
        self._powered = False
        self._events.add(EventKind.SHUTDOWN, asked=True, detail="cut command")

    def reset(self) -> None:
        """Run the reset command."""
        self._run(Capability.RESET, self._commands.reset)
        self._events.add(EventKind.RESET, asked=True, detail="reset command")

    def restore(self) -> RestoreReport:
        """Run the restore command."""
        seconds = self._run(Capability.RESTORE, self._commands.restore)
        self._powered = True
        return RestoreReport(method="command", seconds=seconds)

    def alive(self) -> bool:
        """The exit code of the status command; without one, what was last commanded."""
        if self._commands.status is None:
            return self._powered
        return run_program(self._commands.status, timeout=self._commands.timeout_s).returncode == 0

    def storage(self) -> Path:
        """Run the storage command, which may write one image and nothing larger.

        Raises:
            ControlFault: the device has power, or the command fails or leaves no image.
        """
        argv = self._commands.storage
        if argv is None or self._image is None:
            raise no_capability(self.kind, Capability.STORAGE)
        if self.alive():
            raise ControlFault("the storage is read out of a device without power", hint="power_off first")

        def leave(image: Path, most: int) -> None:
            filled = [part.replace("{image}", str(image)) for part in argv]
            _expect_done(filled, run_program(filled, timeout=self._commands.storage_s, most_bytes=most))

        return self._image.make(leave)

    def close(self) -> None:
        """Leaves the device as it is; its image goes."""
        if self._image is not None:
            self._image.close()

    def _run(self, capability: Capability, argv: tuple[str, ...] | None) -> float:
        if argv is None:
            raise no_capability(self.kind, capability)
        done = run_program(argv, timeout=self._commands.timeout_s)
        _expect_done(argv, done)
        return done.seconds


def _expect_done(argv: Sequence[str], done: Done) -> None:
    if done.returncode != 0:
        raise ControlFault(
            f"control command {list(argv)} ended with {done.returncode}: {done.said}",
            hint="run it by hand on the bench computer",
        )
