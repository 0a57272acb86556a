"""Client of the bench agent inside an emulated device: entropy, clock, sync, weaknesses.

The agent sits on a virtio-serial port that exists on the emulator only. One request is one line, its answer
is one line: `ping` → `pong`, `weaknesses` → `weaknesses: A,B` (`-` for none), `reseed HEX`, `clock SECONDS`
and `sync` → `ok`, of a plain process also `break LINE`; or `error`. The device's own functions are never used for this.
"""

from __future__ import annotations

import secrets
import select
import socket
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from harness.control.base import Deadline
from harness.errors import ControlFault

__all__ = ["NO_WEAKNESS", "PROTOCOL_VERSION", "BenchAgent"]

NO_WEAKNESS = "-"
"""Stands for the empty set, in the agent's answer and on QEMU's command line."""

PROTOCOL_VERSION = 1
"""Part of every template's key: a template made for another protocol is not used."""

_LONGEST_LINE = 4096
_PING_S = 0.05


class BenchAgent:
    """One connection to the agent.

    Raises:
        ControlFault: the port is not there.
    """

    def __init__(self, path: Path, *, timeout: float = 5.0) -> None:
        self._timeout = timeout
        self._pending = b""
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.connect(str(path))
        except OSError as error:
            self._socket.close()
            raise ControlFault(f"the bench agent's port {path} cannot be opened: {error.strerror}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def ping(self) -> None:
        """Wait until the agent answers. Repeated: right after a clone it may still drop what it gets.

        Raises:
            ControlFault: no answer in time.
        """
        deadline = Deadline(self._timeout)
        while deadline.left():
            self._send("ping")
            if (answer := self._line(Deadline(min(_PING_S, deadline.left())))) is not None:
                if answer != "pong":
                    raise ControlFault(f"the bench agent answered 'ping' with {answer[:200]!r}")
                return
        raise ControlFault(f"the bench agent did not answer 'ping' within {self._timeout:g} s")

    def weaknesses(self) -> frozenset[str]:
        """The weaknesses that are switched on, as the device itself has them."""
        (listed,) = self._ask("weaknesses")
        return _names(listed)

    def reseed(self) -> None:
        """Fresh entropy: clones of one template must not share their random numbers."""
        self._ask(_reseed())

    def set_clock(self) -> None:
        """The device's clock to the bench's."""
        self._ask(_clock())

    def sync(self) -> None:
        """Everything written reaches the storage."""
        self._ask("sync")

    def send_break(self, name: str) -> None:
        """The serial line `name` sees a break (plain processes only)."""
        self._ask(f"break {name}")

    def refresh(self) -> frozenset[str]:
        """Reseed, set the clock and return the weaknesses, in one go."""
        *_, listed = self._ask(_reseed(), _clock(), "weaknesses")
        return _names(listed)

    def _ask(self, *requests: str) -> list[str]:
        """Send the lines together and return the answers, which come in the same order.

        Raises:
            ControlFault: an answer does not come in time, or is a refusal, or neither.
        """
        deadline = Deadline(self._timeout)
        self._send(*requests)
        answers = []
        for request in requests:
            word = request.split()[0]
            while (answer := self._line(deadline)) == "pong":
                pass  # of a repeated ping
            if answer is None:
                raise ControlFault(f"the bench agent did not answer {word!r} within {self._timeout:g} s")
            begin = "weaknesses:" if word == "weaknesses" else "ok"
            if not answer.startswith(begin):
                raise ControlFault(f"the bench agent answered {word!r} with {answer[:200]!r}")
            answers.append(answer.removeprefix(begin).strip())
        return answers

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def _send(self, *requests: str) -> None:
        try:
            self._socket.sendall("".join(f"{each}\n" for each in requests).encode())
        except OSError as error:
            raise ControlFault(f"the bench agent went away: {error.strerror}") from error

    def _line(self, deadline: Deadline) -> str | None:
        """The next line; None when it does not come in time."""
        while b"\n" not in self._pending:
            if not select.select([self._socket], [], [], deadline.left())[0]:
                return None
            try:
                data = self._socket.recv(4096)
            except OSError as error:
                raise ControlFault(f"the bench agent went away: {error.strerror}") from error
            if not data:
                raise ControlFault("the bench agent's port closed: the device lost its power")
            self._pending += data
            if len(self._pending) > _LONGEST_LINE:
                raise ControlFault("the bench agent sends an endless line")
        line, _, self._pending = self._pending.partition(b"\n")
        return line.decode("ascii", "backslashreplace").strip()


def _reseed() -> str:
    return f"reseed {secrets.token_hex(32)}"


def _clock() -> str:
    return f"clock {time.time():.6f}"


def _names(listed: str) -> frozenset[str]:
    return frozenset(listed.split(",")) - {"", NO_WEAKNESS}
