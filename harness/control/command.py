"""Control by commands from the rig file: a relay card, a PDU, a lab power supply with a command line."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass

from harness.control.base import Capability, ControlEvent, EventKind, EventLog, Incapable, RestoreReport, no_capability
from harness.errors import ControlFault, UsageError

__all__ = ["CommandControl", "Commands"]

_SHOWN = 400  # characters of a failed command's output that a message quotes


@dataclass(frozen=True, slots=True)
class Commands:
    """The argv of each operation (no shell); None where the bench has no means for it.

    `status` exits with 0 while the device has power. `timeout_s` holds for each command.
    """

    power_on: tuple[str, ...] | None = None
    power_off: tuple[str, ...] | None = None
    cut: tuple[str, ...] | None = None
    reset: tuple[str, ...] | None = None
    restore: tuple[str, ...] | None = None
    status: tuple[str, ...] | None = None
    timeout_s: float = 30.0


class CommandControl(Incapable):
    """Carries out each operation by one command.

    Raises:
        UsageError: a command names a program that is not there, or power can be given but not taken.
    """

    kind = "command"

    def __init__(self, commands: Commands) -> None:
        self._commands = commands
        self._events = EventLog()
        self._powered = True
        given = {
            Capability.CUT: commands.cut,
            Capability.RESET: commands.reset,
            Capability.RESTORE: commands.restore,
            Capability.POWER: commands.power_on,
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
        return _execute(self._commands.status, timeout=self._commands.timeout_s).returncode == 0

    def _run(self, capability: Capability, argv: tuple[str, ...] | None) -> float:
        if argv is None:
            raise no_capability(self.kind, capability)
        result = _execute(argv, timeout=self._commands.timeout_s)
        if result.returncode != 0:
            said = result.stdout[-_SHOWN:].decode(errors="backslashreplace").strip()
            raise ControlFault(
                f"control command {list(argv)} ended with {result.returncode}: {said or '(no output)'}",
                hint="run it by hand on the bench computer",
            )
        return result.seconds


@dataclass(frozen=True, slots=True)
class _Result:
    returncode: int
    stdout: bytes
    seconds: float


def _execute(argv: tuple[str, ...], *, timeout: float) -> _Result:
    begin = time.monotonic()
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise ControlFault(f"control command {list(argv)} cannot be started: {error}") from error
    with process:
        try:
            said, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            # the whole session: a hung grandchild would keep the pipe, and with it this wait, open
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise ControlFault(
                f"control command {list(argv)} did not end within {timeout:g} s and was killed"
            ) from None
    return _Result(process.returncode, said, time.monotonic() - begin)
