"""The one face of every control: power, reset, baseline, and what happened without being asked."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from harness.errors import ControlFault

__all__ = [
    "Capability",
    "Control",
    "ControlEvent",
    "Deadline",
    "EventKind",
    "EventLog",
    "Incapable",
    "RestoreReport",
    "StepClock",
    "no_capability",
]


class Capability(StrEnum):
    """What a control may be able to do; `Control.capabilities` names what this one can."""

    POWER = "power"
    """`power_on` and `power_off`."""
    CUT = "cut"
    """`cut`: power goes at once, nothing is flushed."""
    RESET = "reset"
    """`reset`: the hardware reset line."""
    RESTORE = "restore"
    """`restore`: back to the baseline without help of the device's own functions."""
    EVENTS = "events"
    """Resets, shutdowns and panics are seen from outside as they happen."""
    BREAK = "break"
    """`send_break`: a break condition on a serial line of the emulated device."""
    NETWORK = "network"
    """The device lives in a private network; `holder.sockets` opens sockets in it."""
    STORAGE = "storage"
    """`storage`: everything that the device's media hold can be read out while it has no power."""


class EventKind(StrEnum):
    """What the bench saw the device's hardware do."""

    RESET = "reset"
    SHUTDOWN = "shutdown"
    PANIC = "panic"
    WATCHDOG = "watchdog"
    STOP = "stop"
    DIED = "died"
    """The process behind an emulated or sham device ended."""


@dataclass(frozen=True, slots=True)
class ControlEvent:
    """One observed event. `asked` is true when the bench itself had caused it.

    `at_ns` is `time.monotonic_ns()` and `at_utc` wall-clock time, both taken when the bench learned of it.
    """

    kind: EventKind
    asked: bool
    detail: str
    at_ns: int
    at_utc: datetime


class EventLog:
    """Events in the order seen; filled from any thread, read from any thread."""

    def __init__(self) -> None:
        self._events: list[ControlEvent] = []
        self._changed = threading.Condition()

    def add(self, kind: EventKind, *, asked: bool, detail: str = "") -> None:
        """Append an event seen just now."""
        event = ControlEvent(kind=kind, asked=asked, detail=detail, at_ns=time.monotonic_ns(), at_utc=datetime.now(UTC))
        with self._changed:
            self._events.append(event)
            self._changed.notify_all()

    def all(self) -> tuple[ControlEvent, ...]:
        """Every event so far."""
        with self._changed:
            return tuple(self._events)

    def wait(self, kind: EventKind, *, timeout: float, after: int = 0) -> ControlEvent | None:
        """The first event of `kind` at or past index `after`; None when `timeout` seconds bring none."""
        found: list[ControlEvent] = []

        def seen() -> bool:
            found[:] = [event for event in self._events[after:] if event.kind is kind]
            return bool(found)

        with self._changed:
            self._changed.wait_for(seen, timeout)
        return found[0] if found else None


@dataclass(frozen=True, slots=True)
class RestoreReport:
    """How the device came back to its baseline.

    `method` is `clone` (saved state), `restart` (started anew, and up), `boot` (started, and not yet up) or `command`
    (the bench's own);
    `steps` maps each step to its seconds;
    `weaknesses` is the active set as the device's bench agent read it back, None where there is no agent.
    """

    method: str
    seconds: float
    steps: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    template: str | None = None
    weaknesses: frozenset[str] | None = None


class Control(Protocol):
    """What the bench can do to the device from outside. Synchronous; every wait has a deadline.

    Every method raises `ControlFault` when the bench could not do it, also when the capability is missing.
    """

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What this control can do."""

    @property
    def events(self) -> tuple[ControlEvent, ...]:
        """Everything seen so far, asked and unasked, oldest first."""

    def power_on(self) -> None:
        """Give the device power; returns when it has it, not when the device is up."""

    def power_off(self) -> None:
        """Take the power away in an orderly manner (storage of the bench's side is flushed)."""

    def cut(self) -> None:
        """Take the power away in the middle of whatever is going on."""

    def reset(self) -> None:
        """Pulse the hardware reset."""

    def send_break(self, name: str) -> None:
        """Send a break on the serial line behind the link `name` of the emulated device."""

    def restore(self) -> RestoreReport:
        """Bring the device back to its baseline, running."""

    def storage(self) -> Path:
        """Read out what the device's media hold, byte by byte, while it has no power.

        A file of the control's own, good until the next call or the end; never read by anybody but the bench.
        """

    def alive(self) -> bool:
        """The bench's own view: is the device powered (its emulator running)? Says nothing of its health."""

    def close(self) -> None:
        """Let go of everything; never raises for a device that is already gone. May be called twice."""


class Deadline:
    """A point in time that several waits share."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self._end - time.monotonic())


class StepClock:
    """Seconds of each step of something, from its making on."""

    def __init__(self) -> None:
        self._begin = self._last = time.monotonic()
        self.taken: dict[str, float] = {}

    def done(self, step: str) -> None:
        """`step` took the time since the one before."""
        now = time.monotonic()
        self.taken[step] = now - self._last
        self._last = now

    def total(self) -> float:
        """Seconds from the beginning to the last step."""
        return self._last - self._begin


class Incapable:
    """A control that can do nothing: the base of those that can do something, which say what.

    `kind` is the control's name in rig files.
    """

    kind = "none"

    def power_on(self) -> None:
        """Raises: ControlFault."""
        raise no_capability(self.kind, Capability.POWER)

    def power_off(self) -> None:
        """Raises: ControlFault."""
        raise no_capability(self.kind, Capability.POWER)

    def cut(self) -> None:
        """Raises: ControlFault."""
        raise no_capability(self.kind, Capability.CUT)

    def reset(self) -> None:
        """Raises: ControlFault."""
        raise no_capability(self.kind, Capability.RESET)

    def send_break(self, name: str) -> None:  # noqa: ARG002
        """Raises: ControlFault."""
        raise no_capability(self.kind, Capability.BREAK)

    def restore(self) -> RestoreReport:
        """Raises: ControlFault."""
        raise no_capability(self.kind, Capability.RESTORE)

    def storage(self) -> Path:
        """Raises: ControlFault."""
        raise no_capability(self.kind, Capability.STORAGE)

    def close(self) -> None:
        """Leaves the device as it is."""


def no_capability(control: str, capability: Capability) -> ControlFault:
    """The fault for an operation that this control has no means for."""
    return ControlFault(
        f"control {control!r} has no means for {capability.value!r}",
        hint="check Control.capabilities first, or give the rig a control that can",
    )
