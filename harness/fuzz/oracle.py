"""Did it harm the device? Asked of the surface itself, of the watches and of the control."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from enum import StrEnum

from harness.bench import Bench
from harness.device.outcomes import Accepted, NoAnswer, name_of
from harness.device.surface import Clock
from harness.rig.rig_file import Grade
from harness.verdict import Undecided
from harness.watch import Incident, IncidentKind

__all__ = ["Harm", "Oracle", "Trouble"]


class Harm(StrEnum):
    """What kind of trouble it is."""

    RESTART = "restart"
    """Its clock began anew, or the control saw it go."""
    DEATH = "death"
    PERFORMANCE = "essential performance"
    GAP = "gap in the heartbeat"
    """On an emulated item the host may be the cause: proof only if it comes again."""
    SILENCE = "silence"
    NONSENSE = "nonsense"
    """It answers what is no answer: nothing can be said about it."""

    def proof(self, grade: Grade) -> bool:
        """Whether it is proof when seen once only, on an item of this grade (verdict rules 3 to 5)."""
        return self in (Harm.RESTART, Harm.DEATH, Harm.PERFORMANCE) or (
            self is Harm.GAP and grade is not Grade.EMULATED
        )


@dataclass(frozen=True, slots=True)
class Trouble:
    """What the oracle found. `claim` is the claim that speaks of it, empty for that of availability."""

    harm: Harm
    detail: str
    claim: str = ""


_HARM = {IncidentKind.DEATH: Harm.DEATH, IncidentKind.LIMIT: Harm.PERFORMANCE, IncidentKind.GAP: Harm.GAP}


class Oracle:
    """Compares the device with how it was when the oracle was made."""

    def __init__(self, bench: Bench, surface: str, *, recovery: float) -> None:
        """Read the device's clock on `surface`, which gets `recovery` seconds to answer after an attack.

        Raises:
            Undecided: it does not answer before anything was done to it.
        """
        self._bench = bench
        self._surface = surface
        self._recovery = recovery
        self._events = len(bench.control.events)
        first = bench.surface(surface).probe()
        if not isinstance(first, Accepted):
            raise Undecided(f"{surface} does not answer before the cases: {name_of(first)}")
        self._clock = first.value

    def trouble(self) -> Trouble | None:
        """Probe the surface with a fresh stimulus and ask everybody."""
        return self._probe() or self._incident() or self._event()

    def _event(self) -> Trouble | None:
        for event in self._bench.control.events[self._events :]:
            if not event.asked:
                return Trouble(Harm.RESTART, f"{event.kind.value} {event.detail}", claim="BASE-NO-CRASH")
        return None

    def _incident(self) -> Trouble | None:
        for watch in self._bench.watches:
            report = watch.report()
            for incident in report.incidents:
                if self._ours(incident):
                    harm = _HARM[incident.kind]
                    detail = f"{report.watch}: {incident.detail}"
                    return Trouble(harm, detail, claim=report.claim or "BASE-NO-CRASH")
        return None

    def _ours(self, incident: Incident) -> bool:
        """Whether the bench itself did not stall then; a stall is decided about at the end of the testcase."""
        if incident.kind is not IncidentKind.GAP:
            return True
        return self._bench.stalls.worst(incident.at - incident.span, incident.at) <= incident.limit / 3

    def _probe(self) -> Trouble | None:
        deadline = time.monotonic() + self._recovery
        outcome = self._bench.surface(self._surface).probe()
        while not isinstance(outcome, Accepted) and time.monotonic() < deadline:
            outcome = self._bench.surface(self._surface).probe()
        if isinstance(outcome, Accepted):
            return self._compare(outcome.value)
        said = f"{self._surface} after {self._recovery:g} s: {name_of(outcome)}"
        return self._event() or Trouble(Harm.SILENCE if isinstance(outcome, NoAnswer) else Harm.NONSENSE, said)

    def _compare(self, now: Clock) -> Trouble | None:
        before, self._clock = self._clock, now
        fits, how = self._fits(before, now)
        if fits:
            return None
        slack = self._bench.rig.device.clock_tolerance
        if now.uptime > now.answered - before.asked + slack:
            return Trouble(Harm.NONSENSE, f"stale: {how}")
        # It may have begun anew since, or be an old answer: a clock that began anew goes on.
        threading.Event().wait(3 * slack)
        later = self._bench.surface(self._surface).probe()
        if not isinstance(later, Accepted):
            return Trouble(Harm.NONSENSE, f"{how}; then {name_of(later)}")
        self._clock = later.value
        goes_on, then = self._fits(now, later.value)
        if goes_on:
            return Trouble(Harm.RESTART, how, claim="BASE-NO-CRASH")
        return Trouble(Harm.NONSENSE, f"stale: {how}; {then}")

    def _fits(self, before: Clock, now: Clock) -> tuple[bool, str]:
        """Whether the device's clock went on from `before` to `now` as the bench's did, and the numbers."""
        slack = self._bench.rig.device.clock_tolerance
        low, high = now.asked - before.answered - slack, now.answered - before.asked + slack
        how = f"{self._surface}: uptime {before.uptime:.3f} s, then {now.uptime:.3f} s, {low:.3f} to {high:.3f} s later"
        return low <= now.since(before, slack=slack) <= high, how
