"""A program of the bench, run to its end or to its deadline."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.clean import show_text
from harness.errors import ControlFault

__all__ = ["SHOWN", "Done", "run_program"]

SHOWN = 400
"""Characters of a program's output that a message quotes: the last ones, where the reason stands."""


@dataclass(frozen=True, slots=True)
class Done:
    """How a program ended: exit code, output (standard output and error as they came), and how long it took."""

    returncode: int
    output: bytes
    seconds: float

    @property
    def said(self) -> str:
        """The end of the output, made safe to show."""
        return show_text(self.output[-SHOWN:].decode(errors="replace").strip()) or "(no output)"


def run_program(
    argv: Sequence[str], *, timeout: float, env: Mapping[str, str] | None = None, most_bytes: int | None = None
) -> Done:
    """Run `argv`, without a shell and without input, in a session of its own.

    `env`: its whole environment, ours where none is given. `most_bytes`: size of the largest file it may write.

    Raises:
        ControlFault: it cannot be started, or has not ended within `timeout` seconds: it is killed with its children.
    """
    # By a program (util-linux), before the first instruction: what is limited later has children that are not.
    limit = () if most_bytes is None else ("prlimit", f"--fsize={most_bytes}", "--")
    begin = time.monotonic()
    try:
        process = subprocess.Popen(
            [*limit, *argv],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise ControlFault(f"control command {list(argv)} cannot be started: {error}") from error
    with process:
        try:
            output, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            # the whole session: a hung grandchild would keep the pipe, and with it this wait, open
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise ControlFault(
                f"control command {list(argv)} did not end within {timeout:g} s and was killed"
            ) from None
    return Done(process.returncode, output, time.monotonic() - begin)
