"""A testcase in progress: its operations, attacks and checks, and what they come to.

`Case.finish` is where a pass is earned: every attacked surface answers afresh after the last attack, every
check held, every watch saw something up to the end and nothing beyond its limit, nothing changed that should
not have.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from harness.bench import Bench
from harness.clean import Masker, show, show_text
from harness.control.base import EventKind
from harness.device.outcomes import Accepted, NoAnswer, Outcome, Refused, name_of
from harness.device.surface import Clock
from harness.errors import UsageError
from harness.rig.baseline import BASELINE
from harness.rig.claims import AvailabilityClaim, ClaimBase, Status
from harness.testcase import Meta
from harness.verdict import Check, CheckState, ClaimBroken, SilenceAfterAttack, Undecided, Verdict, decide
from harness.watch import Incident, IncidentKind, Watch, WatchReport

__all__ = ["Case", "Observer"]

T_value = TypeVar("T_value")

RECOVERY_WITHOUT_CLAIM = 5.0
"""Seconds a surface gets to answer after an attack when the device claims nothing."""

FIRST_SAMPLE_WITHIN = 1.0
"""Seconds a watch gets for its first sample."""


class Observer(Protocol):
    """Who is told what happens, to show it: the Allure report is one."""

    def step(self, title: str) -> AbstractContextManager[None]:
        """A step begins; it ends with the context."""

    def attach(self, name: str, text: str) -> None:
        """Text that belongs to the present step."""


class Nobody:
    """An observer that shows nothing."""

    def step(self, title: str) -> AbstractContextManager[None]:
        """Show nothing."""
        return nullcontext()

    def attach(self, name: str, text: str) -> None:
        """Show nothing."""


@dataclass
class _Exemption:
    kinds: frozenset[IncidentKind]
    start: float
    end: float
    seen: set[IncidentKind] = field(default_factory=set)


class Case:
    """One testcase in progress on a bench."""

    def __init__(
        self, bench: Bench, *, nodeid: str, meta: Meta, attempt: int = 1, observer: Observer | None = None
    ) -> None:
        self.bench = bench
        self.nodeid = nodeid
        self.meta = meta
        self.attempt = attempt
        self.checks: list[Check] = []
        self._observer = observer or Nobody()
        self._masker = Masker(bench.rig.device.secrets())
        self._attacked: dict[str, Clock] = {}
        self._exemptions: list[_Exemption] = []
        self._claims_used: set[str] = set()
        self._events_before = len(bench.control.events)
        self._started = time.monotonic()
        self._ended = False
        self._watches_asked = False
        bench.wiring.observer = self._on_operation

    # Saying what is done

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Group what follows under a title in journal and report."""
        self._write("step", title=title)
        with self._observer.step(title):
            yield

    def attack(self, surface: str, what: str) -> None:
        """Say that an attack on `surface` begins: it is proven alive now, and again at the end.

        Raises:
            Undecided: the surface does not answer before the attack.
        """
        if surface not in self._attacked:
            self.await_watches()
            seen = self.bench.surface(surface).probe()
            if not isinstance(seen, Accepted):
                self._write("alive", surface=surface, seen=False, how=name_of(seen))
                raise Undecided(f"{surface} does not answer before the attack: {name_of(seen)}")
            self._attacked[surface] = seen.value
            self._write("alive", surface=surface, seen=True, how=f"uptime {seen.value.uptime:.3f} s")
        self._write("attack", surface=surface, what=what)

    def await_watches(self) -> None:
        """Wait until every watch saw something: what follows is meant to disturb what they watch."""
        for watch in self.bench.watches:
            self._last_report(watch)

    @contextmanager
    def expecting(self, *kinds: IncidentKind, within: float) -> Iterator[None]:
        """The only way a death string, gap or limit is not a failure: said before, and it must be seen.

        The exemption holds from now until `within` seconds after the block began.
        """
        now = time.monotonic()
        exemption = _Exemption(frozenset(kinds), now, now + within)
        self._exemptions.append(exemption)
        yield

    # Checks

    def claim(self, claim_id: str) -> ClaimBase:
        """Return a claim of the device, or of the baseline set."""
        device = self.bench.rig.device
        if claim_id in device.withdrawn:
            raise UsageError(f"claim {claim_id} is withdrawn: {device.withdrawn[claim_id]}")
        found = device.claims.get(claim_id) or BASELINE.get(claim_id)
        if found is None:
            raise UsageError(f"no claim {claim_id!r}", hint="add it to the device file")
        return found

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
    ) -> bool:
        """Record a comparison: held, broken (`False`) or undecided (`None`). Returns whether it held."""
        state = CheckState.UNDECIDED if held is None else CheckState.HELD if held else CheckState.BROKEN
        if not claim and state is CheckState.BROKEN:
            # Without a claim nothing can be broken: it was a control of the procedure.
            state = CheckState.UNDECIDED
        source = str(self.claim(claim).source) if claim else ""
        if claim:
            self._claims_used.add(claim)
        check = Check(
            title=self._clean(title),
            state=state,
            expected=self._clean(str(expected)),
            observed=self._clean(str(observed)),
            claim=claim,
            source=source,
            repeat=self._clean(repeat),
            stalled=stalled,
        )
        self.checks.append(check)
        self._write(
            "check",
            title=check.title,
            state=state.value,
            expected=check.expected,
            observed=check.observed,
            claim=claim,
            source=source,
            status=self.claim(claim).status.value if claim else "",
        )
        with self._observer.step(f"{_SIGN[state]} {check.title}"):
            self._observer.attach("expected", check.expected)
            self._observer.attach("observed", check.observed)
        return state is CheckState.HELD

    def expect_refused(self, title: str, outcome: Outcome[object], *, claim: str, codes: Iterable[int] = ()) -> bool:
        """The device must have understood and said no (with one of `codes` when given)."""
        wanted = tuple(codes)
        held: bool | None
        match outcome:
            case Refused(code=code):
                held = not wanted or code in wanted
            case Accepted():
                held = False
            case _:
                held = None
        expected = "refused" + (f" with code {' or '.join(map(str, wanted))}" if wanted else "")
        return self.check(title, held=held, expected=expected, observed=name_of(outcome), claim=claim)

    def expect_accepted(self, title: str, outcome: Outcome[object], *, claim: str) -> bool:
        """The device must do it: it is claimed."""
        held = True if isinstance(outcome, Accepted) else False if isinstance(outcome, Refused) else None
        return self.check(title, held=held, expected="accepted", observed=name_of(outcome), claim=claim)

    def twin(self, title: str, outcome: Outcome[object]) -> bool:
        """The same path with the one property right must be accepted, or the refusal proves nothing (rule 2)."""
        return self.check(
            title, held=isinstance(outcome, Accepted) or None, expected="accepted (twin)", observed=name_of(outcome)
        )

    def unchanged(self, title: str, *, before: object, after: object, claim: str = "BASE-UNCHANGED") -> bool:
        """State read before and after must be equal."""
        return self.check(title, held=before == after, expected=before, observed=after, claim=claim)

    def timing(
        self, title: str, *, measured: float | None, low: float, high: float, uncertainty: float, claim: str
    ) -> bool:
        """A time in seconds, measured until now, must lie in a range.

        Within the uncertainty of an end of the range it is undecided; so it is when the bench was held up for
        more than a third of the limit meanwhile.
        """
        observed = "never" if measured is None else f"{measured:.2f} s ± {uncertainty:.2f} s"
        held: bool | None
        stalled = False
        if measured is None:
            held = False
        elif (low <= 0 or low + uncertainty <= measured) and measured <= high - uncertainty:
            held = True
        elif measured < low - uncertainty or measured > high + uncertainty:
            held = False
        else:
            held = None
        now = time.monotonic()
        stall = 0.0 if measured is None else self.bench.stalls.worst(now - measured - 1, now)
        if stall > high / 3:
            held, stalled, observed = None, True, f"{observed}, bench stalled {stall:.2f} s"
        expected = f"{low:.2f} to {high:.2f} s"
        return self.check(title, held=held, expected=expected, observed=observed, claim=claim, stalled=stalled)

    def value(self, outcome: Outcome[T_value], what: str) -> T_value:
        """Return the value of an accepted outcome.

        Raises:
            Undecided: it was not accepted, so the procedure cannot go on.
        """
        if isinstance(outcome, Accepted):
            return outcome.value
        raise Undecided(f"{what}: {name_of(outcome)}")

    # The end

    def finish(self, raised: BaseException | None) -> None:
        """Decide. Returns only when the pass is earned.

        Raises:
            ClaimBroken: a claim is broken.
            Undecided: anything could not be decided. `SilenceAfterAttack` asks for one repetition.
            BaseException: what the testcase itself raised, when no check is broken.
        """
        if raised is None:
            try:
                self._prove_alive()
                self._compare_baseline()
                self._ask_watches()
            except Exception as error:  # noqa: BLE001  (decided below, never hidden)
                raised = error
                self._ask_watches(incidents_only=True)
        elif isinstance(raised, Exception):
            self._ask_watches(incidents_only=True)
        self._ask_control()
        verdict = decide(self.checks)
        if isinstance(verdict, ClaimBroken):
            raise verdict from raised
        if raised is not None:
            raise raised
        if verdict is not None:
            raise verdict
        observed = sorted(c for c in self._claims_used if self.claim(c).status is Status.OBSERVED)
        if observed:
            raise Undecided(f"claims nobody has stood up for (status observed): {', '.join(observed)}")

    def journal_end(self, verdict: Verdict, reason: str) -> None:
        """Write the verdict of this attempt, once."""
        if self._ended:
            return
        self._ended = True
        self._write(
            "case.end",
            verdict=verdict.value,
            reason=self._clean(reason),
            attempt=self.attempt,
            seconds=round(time.monotonic() - self._started, 3),
        )

    def _prove_alive(self) -> None:
        if not self._attacked:
            identity = self.bench.rig.device.identity
            seen = self.bench.surface(identity).probe()
            if not isinstance(seen, Accepted):
                raise Undecided(f"the device does not answer at the end: {identity}: {name_of(seen)}")
            self._write("alive", surface=identity, seen=True, how=f"uptime {seen.value.uptime:.3f} s")
        for surface, before in self._attacked.items():
            with self.step(f"{surface} is alive after the attack"):
                self._prove_surface(surface, before)

    def _prove_surface(self, surface: str, before: Clock) -> None:
        recovery = self._recovery(surface)
        deadline = time.monotonic() + recovery
        outcome = self.bench.surface(surface).probe()
        while not isinstance(outcome, Accepted) and time.monotonic() < deadline:
            outcome = self.bench.surface(surface).probe()
        if not isinstance(outcome, Accepted):
            self._write("alive", surface=surface, seen=False, how=name_of(outcome))
            message = f"{surface} does not answer {recovery:g} s after the attack: {name_of(outcome)}"
            if isinstance(outcome, NoAnswer) and self.bench.control.alive():
                raise SilenceAfterAttack(message)
            raise Undecided(message)
        now = outcome.value
        low, high = now.asked - before.answered, now.answered - before.asked
        slack = self.bench.rig.device.clock_tolerance
        passed = now.uptime - before.uptime
        how = f"uptime {now.uptime:.3f} s, {passed:.3f} s after the last, between {low:.3f} and {high:.3f} s measured"
        self._write("alive", surface=surface, seen=True, how=how)
        if passed < low - slack and self._restart_expected():
            return
        if passed < 0 and now.uptime <= high + slack:
            # The clock started again during the attack.
            self.check(
                f"{surface}: the device does not restart",
                held=False,
                expected="uptime goes on",
                observed=how,
                claim="BASE-NO-CRASH",
            )
        elif not low - slack <= passed <= high + slack:
            raise Undecided(f"{surface} answers stale: {how}")

    def _restart_expected(self) -> bool:
        for exemption in self._exemptions:
            if IncidentKind.RESTART in exemption.kinds:
                exemption.seen.add(IncidentKind.RESTART)
                return True
        return any(IncidentKind.DEATH in exemption.kinds for exemption in self._exemptions)

    def _recovery(self, surface: str) -> float:
        claims = self.bench.rig.device.claims_of(AvailabilityClaim, surface=surface)
        return min((claim.recovery for claim in claims.values()), default=RECOVERY_WITHOUT_CLAIM)

    def _compare_baseline(self) -> None:
        if self.meta.effects or self.meta.cold:
            return
        after = self.bench.fingerprint()
        for name, before in self.bench.baseline.items():
            if after[name] != before:
                self.unchanged(f"{name} is as before the testcase", before=before, after=after[name])

    def _ask_watches(self, *, incidents_only: bool = False) -> None:
        if self._watches_asked:
            return
        self._watches_asked = True
        for watch in self.bench.watches:
            report = self._last_report(watch)
            unexpected = [incident for incident in report.incidents if not self._exempt(incident)]
            self._write(
                "watch",
                watch=report.watch,
                state="broken" if unexpected else "held" if report.fresh else "stale",
                samples=report.samples,
                detail=[self._clean(incident.detail) for incident in report.incidents[:10]],
            )
            for incident in unexpected:
                self._note_incident(report.claim or "BASE-NO-CRASH", report.watch, incident)
            if not incidents_only and not report.fresh and not unexpected:
                raise Undecided(f"watch {report.watch}: no sample up to the end")
        for exemption in self._exemptions:
            missing = exemption.kinds - exemption.seen
            self._write(
                "exemption",
                expecting=sorted(exemption.kinds),
                within=round(exemption.end - exemption.start, 3),
                seen=sorted(exemption.seen),
            )
            if missing and not incidents_only:
                raise Undecided(f"expected but not seen: {', '.join(sorted(missing))}")

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
            stall = self.bench.stalls.worst(incident.at - incident.span, incident.at)
            if stall > incident.limit / 3:
                held, stalled = None, True
                observed = f"{observed}; the bench itself stalled {stall * 1000:.0f} ms"
        title = f"{watch}: {incident.kind.value}"
        self.check(title, held=held, expected="within limits", observed=observed, claim=claim, stalled=stalled)

    def _exempt(self, incident: Incident) -> bool:
        for exemption in self._exemptions:
            if incident.kind in exemption.kinds and exemption.start <= incident.at <= exemption.end + incident.span:
                exemption.seen.add(incident.kind)
                return True
        return False

    def _ask_control(self) -> None:
        restarts = {IncidentKind.DEATH, IncidentKind.RESTART}
        allowed = any(restarts & exemption.kinds for exemption in self._exemptions)
        for event in self.bench.control.events[self._events_before :]:
            self.bench.journal.write(
                "event", source="control", event=event.kind.value, asked=event.asked, testcase=self.nodeid
            )
            if not event.asked and not allowed:
                self.check(
                    "the device does not restart or stop by itself",
                    # A process that died may be the emulator's own fault: that decides nothing.
                    held=None if event.kind is EventKind.DIED else False,
                    expected="no unasked event",
                    observed=f"{event.kind.value} {event.detail}",
                    claim="BASE-NO-CRASH",
                )

    # Recording

    def _on_operation(self, surface: str, operation: str, outcome: Outcome[object]) -> None:
        sent = self._clean(show(outcome.sent, limit=600))
        received = self._clean(show(outcome.received, limit=1200))
        self._write(
            "operation",
            surface=surface,
            operation=self._clean(operation),
            outcome=self._clean(name_of(outcome)),
            sent=sent,
            received=received,
        )
        with self._observer.step(self._clean(f"{surface}: {operation} → {name_of(outcome)}")):
            if sent:
                self._observer.attach("sent", sent)
            if received:
                self._observer.attach("received", received)

    def _clean(self, text: str) -> str:
        return show_text(self._masker.mask(text))

    def _write(self, kind: str, /, **data: object) -> None:
        self.bench.journal.write(kind, testcase=self.nodeid, **data)


_SIGN = {CheckState.HELD: "✔", CheckState.BROKEN: "✘", CheckState.UNDECIDED: "?"}
