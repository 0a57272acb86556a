"""The proof at the end of a testcase: alive, unchanged, watched, no unasked event (verdict rules 1, 3, 4, 8)."""

from __future__ import annotations

import threading
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from harness.bench import Bench
from harness.control.base import EventKind
from harness.device.outcomes import Accepted, NoAnswer, name_of
from harness.device.surface import Clock
from harness.errors import BenchFault
from harness.rig.claims import AvailabilityClaim
from harness.testcase import Meta
from harness.verdict import BenchStalled, SilenceAfterAttack, Undecided
from harness.watch import Incident, IncidentKind, Watch, WatchReport

__all__ = ["Proof", "Proven"]

RECOVERY_WITHOUT_CLAIM = 5.0
"""Seconds a surface gets to answer after an attack when the device claims nothing."""

FIRST_SAMPLE_WITHIN = 1.0
"""Seconds a watch gets to see its first sample."""

CLOCK_MOVES_WITHIN = 0.5
"""Seconds within which two fresh readings of an uptime must differ, beside the tolerance of the device's clock."""


class Proven(Protocol):
    """What the proof needs of the testcase in progress."""

    bench: Bench
    meta: Meta
    nodeid: str

    def step(self, title: str) -> AbstractContextManager[None]: ...

    def record(self, kind: str, /, **data: object) -> None: ...

    def clean(self, text: str) -> str: ...

    def check(
        self,
        title: str,
        *,
        held: bool | None,
        expected: object,
        observed: object,
        claim: str = "",
        repeat: str = "",
        stalled: bool = False,
        at: float | None = None,
    ) -> bool: ...

    def unchanged(self, title: str, *, before: object, after: object, claim: str = ...) -> bool: ...


@dataclass
class _Exemption:
    """What may happen between two monotonic instants, and what of it was seen."""

    kinds: frozenset[IncidentKind]
    start: float
    end: float
    seen: set[IncidentKind] = field(default_factory=set)

    def covers(self, start: float, end: float) -> bool:
        """Whether something that happened between these instants may have happened in the window."""
        return self.start <= end and start <= self.end


class Proof:
    """Collects what a testcase must have shown at its end."""

    def __init__(self, case: Proven) -> None:
        self._case = case
        self._before: dict[str, Clock] = {}
        self._exemptions: list[_Exemption] = []
        self._events_before = len(case.bench.control.events)
        self._dropped_before = case.bench.wiring.dropped()
        self._watches_asked = False

    def see_before(self, surface: str) -> None:
        """Prove a surface alive before it is attacked.

        Raises:
            Undecided: it does not answer.
        """
        seen = self._case.bench.surface(surface).probe()
        if not isinstance(seen, Accepted):
            self._case.record("alive", surface=surface, seen=False, how=name_of(seen))
            raise Undecided(f"{surface} does not answer before the attack: {name_of(seen)}")
        self._before[surface] = seen.value
        self._case.record("alive", surface=surface, seen=True, how=f"uptime {seen.value.uptime:.3f} s")

    def await_watches(self) -> None:
        """Wait until every watch saw something."""
        for watch in self._case.bench.watches:
            self._last_report(watch)

    def exempt(self, kinds: frozenset[IncidentKind], *, within: float) -> None:
        """Let incidents of these kinds pass for `within` seconds from now; each must be seen."""
        now = time.monotonic()
        self._exemptions.append(_Exemption(kinds, now, now + within))

    def whole(self) -> None:
        """Ask for everything that a pass needs.

        Raises:
            Undecided: something is missing; what is broken becomes a check. `BenchStalled`: for want of the bench.
            BenchFault: the bench lost what the device sent.
        """
        self._prove_alive()
        self._compare_baseline()
        self._ask_watches()
        if dropped := self._dropped():
            raise BenchFault(f"the bench lost frames: {dropped}", hint="what else keeps the bench's processor busy?")

    def incidents(self) -> None:
        """Ask only for what went wrong, after a testcase that did not end well."""
        self._ask_watches(incidents_only=True)

    def events(self) -> None:
        """Ask the control for what the device did unasked."""
        self._ask_control()

    def _prove_alive(self) -> None:
        if not self._before:
            identity = self._case.bench.rig.device.identity
            seen = self._case.bench.surface(identity).probe()
            if not isinstance(seen, Accepted):
                raise Undecided(f"the device does not answer at the end: {identity}: {name_of(seen)}")
            self._case.record("alive", surface=identity, seen=True, how=f"uptime {seen.value.uptime:.3f} s")
        for surface, before in self._before.items():
            with self._case.step(f"{surface} is alive after the attack"):
                self._prove_surface(surface, before)

    def _prove_surface(self, surface: str, before: Clock) -> None:
        claim, recovery = self._recovery(surface)
        began = time.monotonic()
        deadline = began + recovery
        outcome = self._case.bench.surface(surface).probe()
        while not isinstance(outcome, Accepted) and time.monotonic() < deadline:
            outcome = self._case.bench.surface(surface).probe()
        if not isinstance(outcome, Accepted):
            self._case.record("alive", surface=surface, seen=False, how=name_of(outcome))
            message = f"{surface} does not answer {recovery:g} s after the attack: {name_of(outcome)}"
            if (late := self._case.bench.stalls.late(began, time.monotonic())) > recovery / 3:
                raise BenchStalled(f"{message}; but the bench itself was held up for {late:.1f} s")
            if isinstance(outcome, NoAnswer) and self._case.bench.control.alive():
                raise SilenceAfterAttack(message, claim=claim)
            raise Undecided(message)
        now = self._moved(surface, before, outcome.value)
        low, high = now.asked - before.answered, now.answered - before.asked
        slack = self._case.bench.rig.device.clock_tolerance
        passed = now.since(before, slack=slack)
        how = f"uptime {now.uptime:.3f} s, {passed:.3f} s after the last, between {low:.3f} and {high:.3f} s measured"
        self._case.record("alive", surface=surface, seen=True, how=how)
        if passed < low - slack and self._restart_expected(now.asked - now.uptime, now.answered - now.uptime):
            return
        if passed < 0 and now.uptime <= high + slack:
            # The clock started again during the attack.
            self._case.check(
                f"{surface}: the device does not restart",
                held=False,
                expected="uptime goes on",
                observed=how,
                claim="BASE-NO-CRASH",
            )
        elif not low - slack <= passed <= high + slack:
            raise Undecided(f"{surface} answers stale: {how}")

    def _moved(self, surface: str, before: Clock, now: Clock) -> Clock:
        """Read again while the uptime stands where it stood before the attack: an old answer said twice is none.

        A clock that started again may show the same by chance, and one that counts seconds takes its time.
        """
        until = time.monotonic() + CLOCK_MOVES_WITHIN + self._case.bench.rig.device.clock_tolerance
        while now.uptime == before.uptime and time.monotonic() < until:
            outcome = self._case.bench.surface(surface).probe()
            if not isinstance(outcome, Accepted):
                raise Undecided(f"{surface} does not answer after the attack: {name_of(outcome)}")
            now = outcome.value
        if now.uptime == before.uptime:
            raise Undecided(f"{surface} answers stale: its uptime stands at {now.uptime:.3f} s")
        return now

    def _restart_expected(self, start: float, end: float) -> bool:
        """Whether the device, whose clock began between these instants, may have restarted then."""
        slack = self._case.bench.rig.device.clock_tolerance
        covering = [each for each in self._exemptions if each.covers(start - slack, end + slack)]
        for exemption in covering:
            if IncidentKind.RESTART in exemption.kinds:
                exemption.seen.add(IncidentKind.RESTART)
                return True
        return any(IncidentKind.DEATH in exemption.kinds for exemption in covering)

    def _recovery(self, surface: str) -> tuple[str, float]:
        """Return the claim with the shortest time in which the surface must answer again, and that time in seconds."""
        claims = self._case.bench.rig.device.claims_of(AvailabilityClaim, surface=surface)
        times = {claim_id: claim.recovery for claim_id, claim in claims.items()}
        return min(times.items(), key=lambda each: each[1], default=("BASE-NO-CRASH", RECOVERY_WITHOUT_CLAIM))

    def _compare_baseline(self) -> None:
        if self._case.meta.effects or self._case.meta.cold:
            return
        after = self._case.bench.fingerprint()
        for name, before in self._case.bench.baseline.items():
            if after[name] != before:
                self._case.unchanged(f"{name} is as before the testcase", before=before, after=after[name])

    def _ask_watches(self, *, incidents_only: bool = False) -> None:
        if self._watches_asked:
            return
        self._watches_asked = True
        self.judge_watches(incidents_only=incidents_only)
        for exemption in self._exemptions:
            missing = exemption.kinds - exemption.seen
            self._case.record(
                "exemption",
                expecting=sorted(exemption.kinds),
                within=round(exemption.end - exemption.start, 3),
                seen=sorted(exemption.seen),
            )
            if missing and not incidents_only:
                raise Undecided(f"expected but not seen: {', '.join(sorted(missing))}")

    def judge_watches(self, *, incidents_only: bool = False) -> None:
        """Ask the watches that run now; what they saw beyond a limit becomes a broken check.

        Raises:
            Undecided: one of them saw nothing up to now, unless only incidents are asked for.
        """
        for watch in self._case.bench.watches:
            report = self._last_report(watch)
            unexpected = [incident for incident in report.incidents if not self._exempt(incident)]
            self._case.record(
                "watch",
                watch=report.watch,
                claim=report.claim,
                state="broken" if unexpected else "held" if report.fresh else "stale",
                samples=report.samples,
                detail=[self._case.clean(incident.detail) for incident in report.incidents[:10]],
            )
            for incident in unexpected:
                self._note_incident(report.claim or "BASE-NO-CRASH", report.watch, incident)
            if not incidents_only and not report.fresh and not unexpected:
                raise Undecided(f"watch {report.watch}: no sample up to the end")

    def _last_report(self, watch: Watch) -> WatchReport:
        """A testcase may end before a watch that has just begun saw its first sample: give it a moment."""
        tick, deadline = threading.Event(), time.monotonic() + FIRST_SAMPLE_WITHIN
        report = watch.report()
        while not report.samples and not report.fresh and time.monotonic() < deadline:
            tick.wait(0.02)
            report = watch.report()
        return report

    def _note_incident(self, claim: str, watch: str, incident: Incident) -> None:
        held: bool | None = False
        stalled = False
        observed = incident.detail
        if incident.kind is IncidentKind.GAP:
            stall = self._case.bench.stalls.worst(incident.at - incident.span, incident.at)
            if stall > incident.limit / 3:
                held, stalled = None, True
                observed = f"{observed}; the bench itself stalled {stall * 1000:.0f} ms"
            elif dropped := self._dropped():
                held, stalled, observed = None, True, f"{observed}; the bench lost frames: {dropped}"
        title = f"{watch}: {incident.kind.value}"
        self._case.check(
            title, held=held, expected="within limits", observed=observed, claim=claim, stalled=stalled, at=incident.at
        )

    def _dropped(self) -> str:
        """What the buses lost on the bench's side during the testcase; empty for nothing."""
        lost = self._case.bench.wiring.dropped() - self._dropped_before
        return ", ".join(f"{count} on {link}" for link, count in sorted(lost.items()))

    def _exempt(self, incident: Incident) -> bool:
        for exemption in self._exemptions:
            if incident.kind in exemption.kinds and exemption.covers(incident.at - incident.span, incident.at):
                exemption.seen.add(incident.kind)
                return True
        return False

    def _ask_control(self) -> None:
        restarts = {IncidentKind.DEATH, IncidentKind.RESTART}
        expected = [exemption for exemption in self._exemptions if restarts & exemption.kinds]
        for event in self._case.bench.control.events[self._events_before :]:
            at = event.at_ns / 1e9
            allowed = any(exemption.covers(at, at) for exemption in expected)
            self._case.bench.journal.write(
                "event", source="control", event=event.kind.value, asked=event.asked, testcase=self._case.nodeid
            )
            if not event.asked and not allowed:
                self._case.check(
                    "the device does not restart or stop by itself",
                    # A process that died may be the emulator's own fault: that decides nothing.
                    held=None if event.kind is EventKind.DIED else False,
                    expected="no unasked event",
                    observed=f"{event.kind.value} {event.detail}",
                    claim="BASE-NO-CRASH",
                    at=at,
                )
