"""What was found about one thing of the host, and how programs of the host are asked."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Finding", "State", "ask"]

ASK_S = 20.0
"""Seconds a program gets to answer a question about itself."""


class State(StrEnum):
    """How a thing stands. `MISSING` alone makes the command fail."""

    GOOD = "good"
    MISSING = "missing"
    DOUBTFUL = "doubtful"
    UNNEEDED = "not needed"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the table: `seen` is what was observed, `remedy` what to do.

    Raises:
        ValueError: it is called good, and nothing was seen.
    """

    what: str
    state: State
    seen: str
    remedy: str = ""

    def __post_init__(self) -> None:
        if self.state is State.GOOD and not self.seen:
            raise ValueError(f"{self.what} is called good with nothing seen")


def ask(*command: str, timeout: float = ASK_S) -> str:
    """Run a program of the host and return what it printed.

    Raises:
        OSError: it cannot be started.
        subprocess.SubprocessError: it failed, or took over `timeout` seconds.
    """
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        errors="backslashreplace",
        timeout=timeout,
        check=True,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "LC_ALL": "C"},
    )
    return done.stdout
