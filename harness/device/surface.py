"""A surface: a way into the device over a link. What every kind of surface can do, and what it needs of the bench."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from harness.device.outcomes import Accepted, NoAnswer, Outcome, Refused, Unintelligible, name_of
from harness.device.values import Value
from harness.links.can import CanLink
from harness.links.http import HttpLink
from harness.links.modbus import ModbusLink
from harness.links.ssh import SshHostKeyMismatch, SshLink, SshNoConnection, SshRefused
from harness.links.stream import StreamLink
from harness.links.uds import UdsClient

__all__ = ["Clock", "Surface", "Wiring"]


@dataclass(frozen=True, slots=True)
class Clock:
    """The device's uptime as one fresh answer: `uptime` seconds, read between two monotonic instants of the bench.

    After `wraps` seconds the number begins again at 0; None where its width is not known.
    """

    uptime: float
    asked: float
    answered: float
    wraps: float | None = None

    def since(self, before: Clock, *, slack: float) -> float:
        """Return the seconds from an earlier reading to this one by the device's clock.

        One that began again at 0 for its width went on: it shows the time that passed on the bench, within `slack`.
        """
        passed = self.uptime - before.uptime
        low, high = self.asked - before.answered, self.answered - before.asked
        if self.wraps is None:
            return passed
        went_on = passed + max(0, round(((low + high) / 2 - passed) / self.wraps)) * self.wraps
        return went_on if low - slack <= went_on <= high + slack else passed


class Wiring(Protocol):
    """What surfaces get from the bench: live links by name, and somebody who records each operation."""

    @property
    def answer_within(self) -> float:
        """Seconds a device may take to answer."""

    def open_stream(self, link: str) -> StreamLink | NoAnswer:
        """Return the shared console, or a new connection of a link that connects."""

    def close_stream(self, link: str, stream: StreamLink) -> None:
        """Give a stream back: connections are closed, a shared console stays open."""

    def shared(self, link: str) -> bool:
        """Say whether a stream is one line for all; else each one that is opened is a connection of its own."""

    def can(self, link: str) -> CanLink:
        """Return the open bus."""

    def modbus(self, link: str) -> ModbusLink:
        """Return the open Modbus link."""

    def uds(self, link: str, request_id: int, response_id: int) -> UdsClient:
        """Return a UDS client on the open bus."""

    def http(self, link: str) -> HttpLink:
        """Return the HTTP server of a link."""

    def connect_ssh(self, link: str) -> SshLink | SshRefused | SshNoConnection | SshHostKeyMismatch:
        """Connect and log in as the rig file says."""

    @property
    def unit_serial(self) -> str:
        """Serial number of the very unit."""

    def hide(self, secret: str) -> None:
        """Mask a credential that came up just now, from here to the end of the testcase."""

    def observe(self, surface: str, operation: str, outcome: Outcome[object]) -> None:
        """Record an operation and what it came to."""


class Surface(ABC):
    """One way into the device. Operations return outcomes; only the bench's own faults are exceptions."""

    def __init__(self, name: str, wiring: Wiring) -> None:
        self.name = name
        self.wiring = wiring

    @abstractmethod
    def read(self, field: str) -> Outcome[Value]:
        """Read one of the device's fields (model, serial, version, uptime …) with a fresh request."""

    def read_all(self, fields: Sequence[str]) -> Outcome[dict[str, Value]]:
        """Read several fields, in one go where the surface can; accepted when all of them are."""
        values: dict[str, Value] = {}
        last: Outcome[Value] = NoAnswer("no field asked for")
        for field in fields:
            last = self.read(field)
            if not isinstance(last, Accepted):
                return last
            values[field] = last.value
        return Accepted(values, sent=last.sent, received=last.received)

    @property
    def uptime_wraps(self) -> float | None:
        """Seconds after which the uptime begins again at 0, None where the width of its number is not known."""
        return None

    @abstractmethod
    def contrast(self) -> Outcome[object]:
        """Ask for something the device must refuse: who says the same to everything is found out."""

    def probe(self) -> Outcome[Clock]:
        """Read the uptime fresh and ask for something that must be refused.

        Accepted only when both went as they must; the clock lets the caller tell a live answer from a stale one.
        """
        asked = time.monotonic()
        reading = self.read("uptime")
        answered = time.monotonic()
        if not isinstance(reading, Accepted):
            return reading
        if not isinstance(reading.value, float):
            return Unintelligible(f"uptime reads {reading.value!r}", sent=reading.sent, received=reading.received)
        contrast = self.contrast()
        if not isinstance(contrast, Refused):
            return Unintelligible(
                f"what must be refused was {name_of(contrast)}", sent=contrast.sent, received=contrast.received
            )
        return Accepted(
            Clock(uptime=reading.value, asked=asked, answered=answered, wraps=self.uptime_wraps),
            sent=reading.sent,
            received=reading.received,
        )

    def _seen(self, operation: str, outcome: Outcome[object]) -> None:
        self.wiring.observe(self.name, operation, outcome)
