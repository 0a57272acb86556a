"""A testcase in progress: its operations, attacks and checks, and what they come to.

`Case.finish` is where a pass is earned: every attacked surface answers afresh after the last attack, every
check held, every watch saw something up to the end and nothing beyond its limit, nothing changed that should
not have.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol, TypeVar

from harness.bench import Bench
from harness.clean import Masker, show, show_text
from harness.device.log_in import LogInSurface
from harness.device.outcomes import Accepted, Outcome, Refused, name_of
from harness.errors import BaselineLost, BenchFault, DiskFull, LinkLost, UsageError, WrongDevice
from harness.proof import Proof
from harness.record_file import expect_space
from harness.rig.baseline import BASELINE
from harness.rig.claims import ClaimBase, Status
from harness.testcase import Meta
from harness.verdict import BenchStalled, Check, CheckState, ClaimBroken, Undecided, Verdict, decide
from harness.watch import IncidentKind

__all__ = ["Case", "Observer"]

T_value = TypeVar("T_value")

READER_SECONDS = 0.3
"""Who sends may meet a loss before the reader of the link does: so long the reader has to meet it, too."""


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


class Case:
    """One testcase in progress on a bench."""

    def __init__(
        self,
        bench: Bench,
        *,
        nodeid: str,
        meta: Meta,
        attempt: int = 1,
        observer: Observer | None = None,
        claims: Iterable[str] = (),
    ) -> None:
        """Begin; `claims` are those of the device file that the testcase is about."""
        self.bench = bench
        self.nodeid = nodeid
        self.meta = meta
        self.attempt = attempt
        self.checks: list[Check] = []
        self._observer = observer or Nobody()
        # Tokens that come up later are added by the surfaces; they die with the testcase.
        self._masker = bench.wiring.masker = Masker(bench.rig.secrets())
        self._attacked: set[str] = set()
        self._claims_used: set[str] = set()
        self._claims_tested = frozenset(claims)
        self._started = time.monotonic()
        self._ended = False
        self._proof = Proof(self)
        bench.wiring.observer = self._on_operation

    # Saying what is done

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Group what follows under a title in journal and report."""
        self.record("step", title=title)
        with self._observer.step(title):
            yield

    def attack(self, surface: str, what: str) -> None:
        """Say that an attack on `surface` begins: it is proven alive now, and again at the end.

        Raises:
            Undecided: the surface does not answer before the attack.
        """
        if surface not in self._attacked:
            self.await_watches()
            self._attacked.add(surface)
            self._proof.see_before(surface)
        self.record("attack", surface=surface, what=what)

    def await_watches(self) -> None:
        """Wait until every watch saw something: what follows is meant to disturb what they watch."""
        self._proof.await_watches()

    def judge_watches(self) -> None:
        """Judge what the watches saw up to now, before a restart that they do not outlive."""
        self._proof.judge_watches()

    @contextmanager
    def expecting(self, *kinds: IncidentKind, within: float) -> Iterator[None]:
        """The only way a death string, gap or limit is not a failure: said before, and it must be seen.

        The exemption holds from now until `within` seconds after the block began.
        """
        self._proof.exempt(frozenset(kinds), within=within)
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
        at: float | None = None,
    ) -> bool:
        """Record a comparison: held, broken (`False`) or undecided (`None`). Returns whether it held.

        `at`: the monotonic instant at which it was seen, when that is not now.
        """
        state = CheckState.UNDECIDED if held is None else CheckState.HELD if held else CheckState.BROKEN
        if not claim and state is CheckState.BROKEN:
            # Without a claim nothing can be broken: it was a control of the procedure.
            state = CheckState.UNDECIDED
        source = str(self.claim(claim).source) if claim else ""
        if claim:
            self._claims_used.add(claim)
        check = Check(
            title=self.clean(title),
            state=state,
            expected=self.clean(str(expected)),
            observed=self.clean(str(observed)),
            claim=claim,
            source=source,
            repeat=self.clean(repeat),
            stalled=stalled,
            at=time.monotonic() if at is None else at,
        )
        self.checks.append(check)
        self.record(
            "check",
            title=check.title,
            state=state.value,
            expected=check.expected,
            observed=check.observed,
            claim=claim,
            source=source,
            status=self.claim(claim).status.value if claim else "",
            approval=str(self.claim(claim).approval or "") if claim else "",
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

    def expect_denied(self, title: str, door: LogInSurface, outcome: Outcome[object], *, claim: str) -> bool:
        """The device must refuse it for the role, where the surface can tell; a session that is over says nothing."""
        if isinstance(outcome, Refused) and (door.ended(outcome) or door.denied(outcome) is False):
            held = None if door.ended(outcome) else False
            return self.check(title, held=held, expected="refused for the role", observed=name_of(outcome), claim=claim)
        return self.expect_refused(title, outcome, claim=claim)

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
        """A time in seconds, measured until now, must lie in a range; None: waited for in vain up to the range's end.

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
        stall = self.bench.stalls.worst(now - (high if measured is None else measured) - 1, now)
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
            BenchFault, BenchStalled: a fault of the bench kept it from being decided; asks for a repetition.
            BaseException: what the testcase itself raised, when no check is broken.
        """
        if raised is None:
            try:
                self._proof.whole()
                expect_space(self.bench.run_dir)
            except Exception as error:  # noqa: BLE001  (decided below, never hidden)
                raised = error
        if isinstance(raised, Exception):
            self._proof.incidents()
        self._proof.events()
        checks = self.checks
        if (doubt := self._doubt(raised)) is not None:
            since, fault = doubt
            checks, raised = [check for check in checks if check.at < since], fault
        verdict = decide(checks)
        if isinstance(verdict, ClaimBroken):
            raise verdict from raised
        if isinstance(raised, BenchFault | BenchStalled) and any(_is_open(check) for check in checks):
            # A repetition after the fault must not wash away what the device had left undecided before.
            raise Undecided(f"{verdict}\n{raised}") from raised
        if raised is not None:
            raise raised
        if verdict is not None:
            raise verdict
        self._expect_stood_up_for()

    def _expect_stood_up_for(self) -> None:
        """What a scan wrote says what the device is like, not what it should be like."""
        device = self.bench.rig.device
        concerned = self._claims_used | (self._claims_tested & device.claims.keys())
        observed = sorted(claim for claim in concerned if self.claim(claim).status is Status.OBSERVED)
        if observed:
            raise Undecided(
                f"claims nobody has stood up for (status observed): {', '.join(observed)}\n"
                f"  → compare them with a document, then `proofrig device approve {self.bench.rig.device_path.name} "
                f"{' '.join(observed)} --by … --source …`"
            )

    def _doubt(self, raised: BaseException | None) -> tuple[float, BenchFault | BenchStalled] | None:
        """Return the fault of the bench that casts doubt on this testcase, and the instant from which on it does.

        What was seen after it, silence or time above all, says nothing of the device. A standstill that disturbed
        nothing is let pass, if the bench's clock went on; a lost link never, for its watch has a gap.
        """
        if isinstance(raised, _SPEAKS_FOR_ITSELF) or (raised is not None and not isinstance(raised, Exception)):
            return None
        held = raised is None and decide(self.checks) is None
        if held:
            self.bench.lost_links.note()
        else:
            self.bench.lost_links.confirm(within=READER_SECONDS if isinstance(raised, LinkLost) else 0.0)
        still = self.bench.stalls.standstill(self._started)
        if still is not None:
            self.record("fault", what=str(still), hint="let nothing suspend, stop or starve the bench during a run")
        faults: list[tuple[float, BenchFault | BenchStalled]] = []
        if still is not None and (still.suspended or not held):
            faults.append((still.since, BenchStalled(str(still))))
        lost = self.bench.lost_links.first_since(self._started)
        if lost is not None:
            message = f"link {lost.link!r} was lost: {lost.why.message}"
            faults.append((lost.doubtful_from, LinkLost(message, hint=lost.why.hint)))
        return min(faults, key=lambda each: each[0], default=None)

    def journal_end(self, verdict: Verdict, reason: str) -> None:
        """Write the verdict of this attempt, once."""
        if self._ended:
            return
        self._ended = True
        self.record(
            "case.end",
            verdict=verdict.value,
            reason=self.clean(reason),
            attempt=self.attempt,
            seconds=round(time.monotonic() - self._started, 3),
        )

    # Recording

    def _on_operation(self, surface: str, operation: str, outcome: Outcome[object]) -> None:
        sent = self.clean(show(self._masker.mask_bytes(outcome.sent), limit=600))
        received = self.clean(show(self._masker.mask_bytes(outcome.received), limit=1200))
        self.record(
            "operation",
            surface=surface,
            operation=self.clean(operation),
            outcome=self.clean(name_of(outcome)),
            sent=sent,
            received=received,
        )
        for secret in self._masker.lengths(show(outcome.sent, limit=600) + show(outcome.received, limit=1200)):
            self.record("masked", what=f"credential in {surface}: {self.clean(operation)}", length=secret)
        with self._observer.step(self.clean(f"{surface}: {operation} → {name_of(outcome)}")):
            if sent:
                self._observer.attach("sent", sent)
            if received:
                self._observer.attach("received", received)

    def clean(self, text: str) -> str:
        """Make text of the device harmless and mask the device's credentials in it."""
        return show_text(self._masker.mask(text))

    def record(self, kind: str, /, **data: object) -> None:
        """Write a journal line about this testcase."""
        self.bench.journal.write(kind, testcase=self.nodeid, **data)


def _is_open(check: Check) -> bool:
    """True of a check that the device, not the bench, left undecided."""
    return check.state is CheckState.UNDECIDED and not check.stalled


_SPEAKS_FOR_ITSELF = (BaselineLost, DiskFull, UsageError, WrongDevice)
"""What ends a testcase for a reason of its own, whatever became of the links."""

_SIGN = {CheckState.HELD: "✔", CheckState.BROKEN: "✘", CheckState.UNDECIDED: "?"}
