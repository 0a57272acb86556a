"""A fuzz campaign: send the planned cases, ask the oracle, confirm what it finds on a fresh baseline.

Proofrig sends, judges and counts itself: what was planned was sent, or the campaign decides nothing.
"""

from __future__ import annotations

import hashlib
import time
import zlib
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from pathlib import Path

from harness.bench import Bench
from harness.case import Case
from harness.device.dialogue import DialogueSurface
from harness.device.messages import MessageSurface
from harness.device.modbus_map import ModbusSurface
from harness.device.uds import UdsSurface
from harness.errors import BenchFault, UsageError
from harness.fuzz.cases import FuzzCase, write_cases
from harness.fuzz.delivery import Delivery, ModbusRtuDelivery, ModbusTcpDelivery, Reply, UdsDelivery
from harness.fuzz.dialogue_delivery import DialogueDelivery
from harness.fuzz.findings import Finding, write_finding
from harness.fuzz.grammar import Model
from harness.fuzz.message_delivery import MessageDelivery
from harness.fuzz.oracle import Harm, Oracle, Trouble
from harness.fuzz.reduce import fewest
from harness.fuzz.sources import case_sources, draw
from harness.rig.claims import AvailabilityClaim
from harness.rig.rig_file import ModbusTcpLinkSpec
from harness.verdict import Undecided
from harness.watch import IncidentKind

__all__ = ["delivery_to", "fuzz", "replay", "seed_of"]

PROBE_EVERY = 25
"""Cases between two probes at most: also the most that have to be sent again to find the one."""

SUSPICIOUS = 2
"""Unanswered cases in a row after which the device is asked whether it is still there."""

REPLAY_SECONDS = 90.0
"""Upper bound of the search for the fewest cases."""


def seed_of(model: Model, surface: str) -> int:
    """Return the seed of a campaign nobody gave one: the same in every run, so that runs can be compared."""
    return zlib.crc32(f"{model.name} {surface}".encode())


def delivery_to(bench: Bench, surface: str) -> Delivery:
    """Return the way cases reach a surface.

    Raises:
        UsageError: there is none for this kind.
    """
    found = bench.surface(surface)
    match found:
        case ModbusSurface():
            tcp = isinstance(bench.rig.file.links[found.spec.link], ModbusTcpLinkSpec)
            return ModbusTcpDelivery(bench, found) if tcp else ModbusRtuDelivery(bench, found)
        case UdsSurface():
            return UdsDelivery(bench, found)
        case DialogueSurface():
            return DialogueDelivery(bench, found)
        case MessageSurface():
            return MessageDelivery(bench, found)
    raise UsageError(f"surface {surface!r} cannot be fuzzed", hint="kinds that can: modbus, uds, dialogue, messages")


def fuzz(
    case: Case, surface: str, model: Model, *, claim: str, cases: int | None = None, seed: int | None = None
) -> None:
    """Run a campaign on `surface` and check the availability claim `claim` and BASE-NO-CRASH.

    Args:
        case: the testcase in progress; it must have begun its attack on `surface`.
        surface: where the cases go.
        model: what they are made from.
        claim: id of the claim of availability.
        cases: how many; None for the default of this kind of surface.
        seed: of the draw; None for `seed_of`.

    Raises:
        Undecided: the campaign was stopped; the check that says why is recorded before.
        UsageError: a case source is not installed.
    """
    _Campaign(case, surface, model, claim=claim, cases=cases, seed=seed).run()


def replay(bench: Bench, surface: str, cases: Sequence[FuzzCase], *, recovery: float) -> Trouble | None:
    """Send `cases` on a fresh baseline and return what harm they do, None if none.

    Raises:
        BenchFault: the baseline cannot be reached.
        Undecided: the surface does not answer on the fresh baseline.
    """
    bench.fresh()
    oracle = Oracle(bench, surface, recovery=recovery)
    delivery = delivery_to(bench, surface)
    try:
        for one in cases:
            delivery.send(one)
        return oracle.trouble()
    finally:
        delivery.close()


class _Campaign:
    def __init__(
        self, case: Case, surface: str, model: Model, *, claim: str, cases: int | None, seed: int | None
    ) -> None:
        self._case = case
        self._bench = case.bench
        self._surface = surface
        self._model = model
        self._claim = claim
        device = case.bench.rig.device
        self._recovery = min(c.recovery for c in device.claims_of(AvailabilityClaim, surface=surface).values())
        self._seed = seed_of(model, surface) if seed is None else seed
        self._delivery = delivery_to(case.bench, surface)
        self._count = self._delivery.default_cases if cases is None else cases
        self._replies: Counter[str] = Counter()
        self._trials = 0
        self._give_up_at = 0.0

    def run(self) -> None:
        with self._case.step(f"{self._count} cases of the model {self._model.name}, seed {self._seed}"):
            planned, share = draw(self._model, self._count, seed=self._seed, sources=case_sources())
        if not planned:
            raise Undecided(f"the model {self._model.name} gives no cases")
        file, digest = self._keep(planned)
        self._journal(len(planned), 0, sources=share, cases_file=file.name, cases_sha256=digest, state="begins")
        started = time.monotonic()
        oracle = Oracle(self._bench, self._surface, recovery=self._recovery)
        trouble, window = self._send(planned, oracle)
        with suppress(BenchFault) if trouble else nullcontext():
            self._delivery.close()
        executed = sum(self._replies.values()) - self._replies[Reply.UNREACHED]
        replies = {str(reply): count for reply, count in sorted(self._replies.items())}
        seconds = round(time.monotonic() - started, 3)
        self._journal(len(planned), executed, replies=replies, seconds=seconds, state="stopped" if trouble else "ends")
        if trouble is not None:
            self._stop(trouble, window, sent=executed)
        self._check_end(planned=len(planned), executed=executed, replies=replies)

    def _send(self, planned: Sequence[FuzzCase], oracle: Oracle) -> tuple[Trouble | None, list[FuzzCase]]:
        """Send all, probing every few; return the first trouble and what was sent since the last good probe."""
        for start in range(0, len(planned), PROBE_EVERY):
            # Cases for the same state follow each other: changing it takes longer than the cases do.
            batch = sorted(planned[start : start + PROBE_EVERY], key=lambda one: one.state)
            window: list[FuzzCase] = []
            unanswered = 0
            for one in batch:
                reply = self._delivery.send(one)
                if reply is Reply.UNREACHED:
                    trouble = oracle.trouble()
                    if trouble is not None:
                        return trouble, window or [one]
                    reply = self._delivery.send(one)
                self._replies[reply] += 1
                window.append(one)
                unanswered = 0 if reply is Reply.ANSWERED else unanswered + 1
                if unanswered >= SUSPICIOUS:
                    trouble = oracle.trouble()
                    if trouble is not None:
                        return trouble, window
                    unanswered, window = 0, []
            trouble = oracle.trouble()
            if trouble is not None:
                return trouble, window or batch[-1:]
        return None, []

    # When all went well

    def _check_end(self, *, planned: int, executed: int, replies: dict[str, int]) -> None:
        observed = f"{executed} of {planned} cases sent ({', '.join(f'{n} {what}' for what, n in replies.items())})"
        self._case.check(
            "every planned case was sent",
            held=executed == planned or None,
            expected=f"{planned} cases",
            observed=observed,
        )
        understood = replies.get(Reply.ANSWERED, 0) > 0
        self._case.check(
            f"{self._surface} answers during and after malformed input",
            held=understood or None,
            expected="answers to fresh requests throughout",
            observed=observed,
            claim=self._claim,
        )
        self._case.check(
            "no input makes the device crash or restart",
            held=True,
            expected="uptime goes on, no death string, no unasked event",
            observed=f"no incident in {executed} cases",
            claim="BASE-NO-CRASH",
        )

    # When the oracle found something

    def _stop(self, trouble: Trouble, window: list[FuzzCase], *, sent: int) -> None:
        """Confirm on a fresh baseline, write the finding, record the check, end the testcase."""
        confirmed: list[FuzzCase] = []
        fault = ""
        finding = self._write(trouble, window, confirmed=False)
        try:
            with (
                self._case.step("The input is sent again on a fresh baseline"),
                self._case.expecting(
                    IncidentKind.DEATH, IncidentKind.GAP, IncidentKind.LIMIT, within=2 * REPLAY_SECONDS
                ),
            ):
                confirmed = self._confirm(window)
        except (BenchFault, Undecided) as error:
            fault = f"; sending it again failed: {error}"
        if confirmed:
            finding = self._write(trouble, confirmed, confirmed=True)
        self._record(trouble, confirmed or window, again=bool(confirmed), fault=fault, finding=finding, sent=sent)
        raise Undecided(f"the campaign was stopped: {trouble.harm.value}, see {finding.name}")

    def _record(
        self, trouble: Trouble, cases: list[FuzzCase], *, again: bool, fault: str, finding: Path, sent: int
    ) -> None:
        proven = again or trouble.harm.proof(self._bench.rig.file.item.grade)
        held = False if proven and trouble.harm is not Harm.NONSENSE else None
        last = cases[-1]
        observed = (
            f"{trouble.detail}; after {sent} cases; "
            + (f"again on a fresh baseline by {len(cases)} case(s)" if again else f"not seen again{fault}")
            + f"; {last.id}, {len(last.data)} bytes: {last.data[:60].hex(' ')}"
        )
        where = finding.relative_to(self._bench.run_dir)
        self._case.check(
            f"{self._surface} withstands malformed input: {trouble.harm.value}",
            held=held,
            expected="the device goes on as before",
            observed=observed,
            claim=trouble.claim or self._claim,
            repeat=f"proofrig replay {where} RIG (in the run folder, seed {self._seed})",
        )

    def _confirm(self, window: list[FuzzCase]) -> list[FuzzCase]:
        """Return the fewest cases found that do it again; none when it does not come again."""
        self._give_up_at = time.monotonic() + REPLAY_SECONDS
        # Cases that get no answer tell when it began: the first of the last ones is the likeliest.
        likely = list(dict.fromkeys((window[-min(SUSPICIOUS, len(window))], window[-1])))
        for one in likely:
            if self._again([one]):
                return [one]
        if len(window) == 1 or not self._again(window):
            return []
        return fewest(window, self._again)

    def _again(self, cases: Sequence[FuzzCase]) -> bool:
        if time.monotonic() > self._give_up_at:
            return False
        self._trials += 1
        trouble = replay(self._bench, self._surface, cases, recovery=self._recovery)
        return trouble is not None and trouble.harm is not Harm.NONSENSE

    # Recording

    def _keep(self, planned: Sequence[FuzzCase]) -> tuple[Path, str]:
        folder = self._bench.run_dir / "fuzz"
        folder.mkdir(exist_ok=True)
        path = folder / f"{self._bench.worker}-{self._surface}-{self._seed}-{self._case.attempt}.cases"
        with path.open("wb") as stream:
            write_cases(stream, planned, available=0)
        return path, hashlib.sha256(path.read_bytes()).hexdigest()

    def _journal(self, planned: int, executed: int, **more: object) -> None:
        self._bench.journal.write(
            "fuzz",
            testcase=self._case.nodeid,
            model=self._model.name,
            surface=self._surface,
            seed=self._seed,
            planned=planned,
            executed=executed,
            **more,
        )

    def _write(self, trouble: Trouble, cases: Sequence[FuzzCase], *, confirmed: bool) -> Path:
        falsified = self._bench.rig.falsified
        finding = Finding(
            device=self._bench.rig.device.device,
            surface=self._surface,
            claim=trouble.claim or self._claim,
            model=self._model.name,
            seed=self._seed,
            harm=trouble.harm.value,
            observed=trouble.detail,
            cases=tuple(cases),
            confirmed=confirmed,
            trials=self._trials,
            testcase=self._case.nodeid,
            challenge=falsified.claim if falsified else "",
        )
        return write_finding(self._bench.run_dir, finding)
