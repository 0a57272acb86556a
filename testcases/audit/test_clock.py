"""The audit log over changes of the clock: each is recorded, and nothing is lost, reordered or dated anew."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from harness.case import Case
from harness.procedures.audit_log import Entry, another_kind, expect_kept, expect_record, fits, provoke, read
from harness.rig.claims import AuditClaim, AuditClock
from harness.rig.device_file import DeviceFile
from harness.rig.rig_file import Effect
from harness.testcase import About, Instance, contributes, each, testcase, verifies
from harness.verdict import Undecided

HOUR = 3600.0
"""Seconds by which the clock is set back: further than any log-off or lock-out, within every certificate's time."""


def settable(device: DeviceFile) -> Iterator[Instance]:
    """Audit logs of devices whose clock can be set."""
    for claim_id, claim in device.claims_of(AuditClaim).items():
        if claim.clock is not None:
            yield Instance(claim_id, (claim_id,))


@testcase(
    "AUDIT-CLOCK",
    title="A change of the clock is in the audit log, and the records before and after it stay in order and complete",
    tags=[
        verifies("NMPA-2022/AUDT", "FDA-A1/F"),
        contributes("ANSM-2019/CRIT-A", "MDS2-2019/AUDT"),
    ],
    about=About(
        property="auditability", phase="monitoring", method="penetration", threat="a clock set back to hide an attack"
    ),
    effects=[Effect.ACCOUNTS, Effect.CONFIGURATION, Effect.DATA],
)
@each("claim_id", settable)
def test_clock(case: Case, claim_id: str) -> None:
    claim = case.bench.rig.device.claims_of(AuditClaim)[claim_id]
    clock = claim.clock
    assert clock is not None  # or it is no instance
    record, other = claim.records[clock.record], another_kind(claim, clock.record)
    door = case.bench.log_in_surface(record.on)

    case.attack(record.on, "the clock is set back an hour, and forward again")
    with case.step("The log before, and the time that it has"):
        asked = time.monotonic()
        provoke(case, claim_id, claim.records[other])
        log = read(case, claim)
        known = [entry for entry in log if fits(entry, claim.records[other])]
        if not known:
            raise Undecided(f"no record of {other} to read the time from")
        zero = time_of(known[-1], clock) - asked
    for title, shift in {"back": -HOUR, "forward again": 0.0}.items():
        with case.step(f"The clock is set {title}"):
            moment = time.monotonic()
            target = zero + moment + shift
            text = datetime.fromtimestamp(target, UTC).strftime(clock.written)
            with door.session(record.account) as opened:
                session = case.value(opened, f"log-in of {record.account}")
                case.value(session.do(record.action, **{clock.argument: text}), f"setting the clock {title}")
            provoke(case, claim_id, claim.records[other])
        with case.step("The log after"):
            after = read(case, claim)
            passed = time.monotonic() - moment
            new = [entry for entry in after if entry.number > log[-1].number]
            change = expect_record(case, claim_id, clock.record, new=new)
            later = [entry for entry in new if change is None or entry.number > change.number]
            found = expect_record(case, claim_id, other, new=later)
            if change is not None and found is not None:
                expect_times(case, claim_id, later, since=target, passed=passed)
            expect_kept(case, claim_id, before=log, log=after)
            log = after


def expect_times(case: Case, claim_id: str, new: Sequence[Entry], *, since: float, passed: float) -> None:
    """Records made after the clock was set to `since` carry the new time, in their order."""
    clock = case.bench.rig.device.claims_of(AuditClaim)[claim_id].clock
    assert clock is not None
    low, high = since - clock.tolerance, since + passed + clock.tolerance
    odd = [entry for entry in new if not low <= time_of(entry, clock) <= high]
    case.check(
        "the records since carry the new time",
        held=not odd,
        expected=f"{shown(low)} to {shown(high)}",
        observed=odd[0].line if odd else f"{len(new)} records, {new[0].fields['time']} to {new[-1].fields['time']}",
        claim=claim_id,
    )


def time_of(entry: Entry, clock: AuditClock) -> float:
    """Return the time of a record, in seconds since 1970.

    Raises:
        Undecided: it is not written as declared.
    """
    text = entry.fields["time"]
    try:
        return datetime.strptime(text, clock.shown).replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise Undecided(f"the time of a record is {text!r}, not written as {clock.shown}") from None


def shown(seconds: float) -> str:
    """Return a time for people."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
