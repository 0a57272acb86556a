"""The audit log overflows in order: only the oldest records go, and it goes on, over a restart, too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.case import Case
from harness.device.outcomes import Accepted, Refused, name_of
from harness.procedures.audit_log import Entry, another_kind, expect_kept, expect_record, fits, provoke, read
from harness.procedures.restarts import await_start
from harness.rig.claims import AuditClaim, AuditRecord
from harness.rig.device_file import DeviceFile
from harness.rig.rig_file import Effect
from harness.testcase import About, Instance, contributes, each, testcase, verifies
from harness.verdict import Undecided
from harness.watch import IncidentKind

MORE = 1.1
"""Records that are provoked for each that must be kept: a log that keeps somewhat more overflows, too."""


def bounded(device: DeviceFile) -> Iterator[Instance]:
    """Audit logs that say how many records they keep."""
    for claim_id, claim in device.claims_of(AuditClaim).items():
        if claim.keeps is not None:
            yield Instance(claim_id, (claim_id,))


@testcase(
    "AUDIT-OVERFLOW",
    title="When the audit log is full the newest records are kept, now and after a restart, and more are recorded",
    tags=[
        verifies("NMPA-2022/AUDT", "FDA-A1/F"),
        contributes("ANSM-2019/CRIT-A", "MDS2-2019/AUDT"),
    ],
    about=About(
        property="auditability", phase="monitoring", method="penetration", threat="a log flooded to hide an attack"
    ),
    effects=[Effect.ACCOUNTS, Effect.CONFIGURATION, Effect.DATA],
    needs=["power"],
    slow=True,
)
@each("claim_id", bounded)
def test_overflow(case: Case, claim_id: str) -> None:
    claim = case.bench.rig.device.claims_of(AuditClaim)[claim_id]
    record, other = claim.records[claim.fills], another_kind(claim, claim.fills)
    count = round((claim.keeps or 1) * MORE)

    case.attack(record.on, f"{count} times {claim.fills}, where {claim.keeps} records are kept")
    with case.step("The log before"):
        last = read(case, claim)[-1].number
    with case.step(f"{count} times {claim.fills}"):
        fill(case, record, count=count)
    with case.step("The full log"):
        full = read(case, claim)
        expect_newest(case, claim_id, full, filled_to=last + count)
    with case.step("It goes on"):
        provoke(case, claim_id, claim.records[other])
        log = read(case, claim)
        expect_record(case, claim_id, other, new=[entry for entry in log if entry.number > full[-1].number])
        expect_kept(case, claim_id, before=full, log=log)
    with case.step("After a restart"):
        within = case.bench.rig.device.starts_within
        case.judge_watches()
        with case.expecting(IncidentKind.RESTART, within=within + 60):
            case.bench.power_cycle()
            await_start(case, claim.surface)
        again = read(case, claim)
        expect_kept(case, claim_id, before=log, log=again)
        provoke(case, claim_id, claim.records[other])
        new = [entry for entry in read(case, claim) if entry.number > again[-1].number]
        expect_record(case, claim_id, other, new=new)


def fill(case: Case, record: AuditRecord, *, count: int) -> None:
    """Provoke a record so many times in one session.

    Raises:
        Undecided: one of them does not come to what leaves the record.
    """
    door = case.bench.log_in_surface(record.on)
    wanted = Accepted if record.by == "action" else Refused
    with door.session(record.account) as opened:
        session = case.value(opened, f"log-in of {record.account}")
        for number in range(count):
            outcome = session.do(record.action)
            if not isinstance(outcome, wanted) or door.ended(outcome):
                raise Undecided(f"{record.action} by {record.account}, time {number + 1}: {name_of(outcome)}")


def expect_newest(case: Case, claim_id: str, log: Sequence[Entry], *, filled_to: int) -> None:
    """The newest records are there, as many as are claimed, those that filled the log up to number `filled_to`."""
    claim = case.bench.rig.device.claims_of(AuditClaim)[claim_id]
    numbers = [entry.number for entry in log]
    kept = min(claim.keeps or 1, claim.shows or claim.keeps or 1)
    case.check(
        "the newest records, without gaps",
        held=numbers == list(range(numbers[0], numbers[0] + len(numbers))) and len(numbers) >= kept,
        expected=f"{kept} records or more, by one",
        observed=f"{numbers[0]} to {numbers[-1]}, {len(numbers)} records",
        claim=claim_id,
    )
    filled = [entry.number for entry in log if fits(entry, claim.records[claim.fills])]
    case.check(
        f"the last {claim.fills} is among them",
        held=bool(filled) and filled[-1] >= filled_to,
        expected=f"number {filled_to} or higher",
        observed=f"number {filled[-1]}" if filled else "none",
        claim=claim_id,
    )
