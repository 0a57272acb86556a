"""What is done on the device is in the audit log."""

from __future__ import annotations

import re
from collections.abc import Iterator

from harness.case import Case
from harness.device.outcomes import Accepted
from harness.procedures.audit_log import expect_kept, expect_record, provoke, read
from harness.rig.claims import AuditClaim
from harness.rig.device_file import DeviceFile
from harness.rig.rig_file import Effect
from harness.testcase import About, Instance, contributes, each, testcase, verifies


def kinds(device: DeviceFile) -> Iterator[Instance]:
    """Every kind of record of an audit claim."""
    for claim_id, claim in device.claims_of(AuditClaim).items():
        for kind in claim.records:
            yield Instance(kind, (claim_id, kind))


@testcase(
    "AUDIT-RECORD",
    title="What is done on the device leaves its record in the audit log, in order and without gaps",
    tags=[
        verifies("NMPA-2022/AUDT", "FDA-A1/F", "FDA-VC/REQ"),
        contributes("ANSM-2019/CRIT-A", "MDS2-2019/AUDT"),
    ],
    about=About(property="auditability", phase="monitoring", method="function", threat="an unseen attack"),
    effects=[Effect.ACCOUNTS, Effect.CONFIGURATION, Effect.DATA],
)
@each("claim_id, kind", kinds)
def test_record(case: Case, claim_id: str, kind: str) -> None:
    device = case.bench.rig.device
    claim = device.claims_of(AuditClaim)[claim_id]
    record = claim.records[kind]

    case.attack(record.on, f"{kind}: {record.by} {record.action}".strip())
    with case.step("The log before"):
        before = read(case, claim)
        last = before[-1].number
    with case.step(f"{record.by} on {record.on}"):
        provoke(case, claim_id, record)
    with case.step("The log after"):
        log = read(case, claim)
        expect_record(case, claim_id, kind, new=[entry for entry in log if entry.number > last])
        expect_kept(case, claim_id, before=before, log=log)


@testcase(
    "AUDIT-READERS",
    title="Only the declared roles can read the audit log",
    tags=[
        verifies("NMPA-2022/AUDT", "NMPA-2022/AUTH", "FDA-A1/F", "FDA-A1/B"),
        contributes("ANSM-2019/CRIT-A", "ANSM-2019/CRIT-C"),
    ],
    about=About(property="confidentiality", phase="monitoring", method="function", threat="a user covers his tracks"),
    unqualified=True,
    version=2,
)
@each("claim_id", lambda device: [Instance(claim_id, (claim_id,)) for claim_id in device.claims_of(AuditClaim)])
def test_readers(case: Case, claim_id: str) -> None:
    claim = case.bench.rig.device.claims_of(AuditClaim)[claim_id]
    door = case.bench.log_in_surface(claim.surface)

    case.attack(claim.surface, "the audit log is asked for in every role")
    for account, declared in door.accounts.items():
        session = case.value(door.log_in(account), f"log-in of {account}")
        outcome = session.do(claim.action)
        session.log_out()
        if declared.role not in claim.readers:
            case.expect_denied(f"{declared.role} reads the log", door, outcome, claim=claim_id)
            text = outcome.received.decode("utf-8", errors="backslashreplace")
            shown = re.search(claim.record, text)
            case.check(
                f"{declared.role} is shown no record",
                held=shown is None,
                expected="no record",
                observed=shown[0] if shown else "no record",
                claim=claim_id,
            )
        else:
            case.expect_accepted(f"{declared.role} reads the log", outcome, claim=claim_id)
    with case.step("Twin: a role that may"):
        case.twin("records", Accepted(read(case, claim)))
