"""What every watch has in common: samples, incidents, and a report at the end of a testcase."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

__all__ = ["Incident", "IncidentKind", "Watch", "WatchReport"]


class IncidentKind(StrEnum):
    """What a watch saw go wrong. A testcase may expect some of them, by name (rule 8)."""

    DEATH = "death"
    """A death string on the console."""
    GAP = "gap"
    """The heartbeat came late or stopped."""
    LIMIT = "limit"
    """The essential performance left its limit."""
    RESTART = "restart"
    """The device's clock started again; seen by the proof of life at the end, not by a watch."""


@dataclass(frozen=True, slots=True)
class Incident:
    """One thing gone wrong. `at` is monotonic seconds; `span` the seconds before it in which it came about."""

    kind: IncidentKind
    at: float
    detail: str
    span: float = 0.0
    limit: float = 0.0


@dataclass(frozen=True, slots=True)
class WatchReport:
    """What a watch has to say. `samples` counts what it saw; `fresh` says that it saw something up to the end."""

    watch: str
    claim: str
    samples: int
    fresh: bool
    incidents: tuple[Incident, ...]


class Watch(Protocol):
    """An observer. It runs from its making until `close`."""

    name: str

    def report(self) -> WatchReport:
        """Return what was seen so far; asked at the end of a testcase."""

    def close(self) -> None:
        """Stop observing."""
