"""What is done on the device is in the audit log."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from harness.case import Case
from harness.device.outcomes import Accepted, NoAnswer, Outcome
from harness.procedures.acting import prepare
from harness.rig.claims import AuditClaim, AuditRecord
from harness.rig.device_file import DeviceFile
from harness.rig.rig_file import Effect
from harness.testcase import About, Instance, contributes, each, testcase, verifies


def kinds(device: DeviceFile) -> Iterator[Instance]:
    """Every kind of record of an audit claim."""
    for claim_id, claim in device.claims_of(AuditClaim).items():
        for kind in claim.records:
            yield Instance(kind, (claim_id, kind))


@dataclass(frozen=True, slots=True)
class Entry:
    """One record of the log: its number, its fields, and the line as it was read."""

    number: int
    fields: dict[str, str]
    line: str


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
        numbers = [entry.number for entry in log]
        new = [entry for entry in log if entry.number > last]
        found = [entry for entry in new if fits(entry, record)]
        case.check(
            f"{kind} is in the log",
            held=bool(found),
            expected=", ".join(f"{name}={value}" for name, value in record.leaves.items()),
            observed=found[0].line if found else "; ".join(entry.line for entry in new) or "no new record",
            claim=claim_id,
        )
        # Records older than the window that is read may be gone; what is there goes on without a gap.
        case.check(
            "the numbers go on from the marker without gaps",
            held=last in numbers and numbers == list(range(numbers[0], numbers[0] + len(numbers))),
            expected=f"from {numbers[0]}, by one, over {last}",
            observed=f"{numbers[0]} to {numbers[-1]}, {len(numbers)} records",
            claim=claim_id,
        )
        kept = [entry.line for entry in log if entry.number <= last]
        case.unchanged("what was in the log before", before=[e.line for e in before][-len(kept) :], after=kept)


def fits(entry: Entry, record: AuditRecord) -> bool:
    """Whether every field of the record is as claimed."""
    return all(re.fullmatch(pattern, entry.fields[name]) for name, pattern in record.leaves.items())


def read(case: Case, claim: AuditClaim) -> list[Entry]:
    """Read the log as a role that may."""
    door = case.bench.log_in_surface(claim.surface)
    reader = next(name for name, account in door.accounts.items() if account.role in claim.readers)
    with door.session(reader) as session:
        answer = case.value(case.value(session, f"log-in of {reader}").do(claim.action), "reading the log")
    entries = []
    for line in answer.all(claim.line):
        match = re.fullmatch(claim.record, line)
        if match is None:
            case.check("a record is as declared", held=None, expected=claim.record, observed=line)
            continue
        fields = {name: value or "" for name, value in match.groupdict().items()}
        entries.append(Entry(number=int(fields["number"]), fields=fields, line=line))
    case.check("the log holds records", held=bool(entries) or None, expected="records", observed=len(entries))
    return entries or [Entry(number=0, fields={}, line="")]


def provoke(case: Case, claim_id: str, record: AuditRecord) -> None:
    """Do what must leave the record; its outcome shows that it was done."""
    match record.by:
        case "log-in" | "log-out" | "wrong-password" | "action" | "denied-action":
            logged_in(case, claim_id, record)
        case "wrong-authenticator":
            bus = case.bench.bus_commands(record.on)
            right = bus.command(bus.spec.clock)
            if isinstance(right, NoAnswer):
                case.value(right, "a command")
                return
            wrong = replace(right, authenticator=bytes(byte ^ 0x5A for byte in right.authenticator))
            case.expect_refused("a wrong authenticator", bus.send(wrong), claim=claim_id)
        case "protected-write":
            modbus = case.bench.modbus(record.on)
            name, register = next((n, r) for n, r in modbus.spec.registers.items() if r.access == "protected")
            value = case.value(modbus.read_register(name), name)
            raw = round(float(value) / (register.scale or 1.0))
            case.expect_refused(f"writing {name}", modbus.write(name, raw), claim=claim_id)
        case "right-key" | "wrong-key":
            uds = case.bench.uds(record.on)
            security = uds.spec.security
            if security is None:
                case.check("security access", held=None, expected="declared", observed="not declared")
                return
            case.twin(f"session {security.session}", uds.enter(security.session))
            seed = case.value(uds.seed(), "seed")
            key = uds.right_key(seed)
            if record.by == "right-key":
                case.twin("the right key", uds.send_key(key))
            else:
                outcome = uds.send_key(bytes(byte ^ 0x5A for byte in key))
                case.expect_refused("a wrong key", outcome, claim=claim_id)


def logged_in(case: Case, claim_id: str, record: AuditRecord) -> None:
    """Log in, log out, be refused, or carry out an action."""
    door = case.bench.log_in_surface(record.on)
    if record.by == "wrong-password":
        wrong = door.log_in(record.account, "not-the-password")
        case.expect_refused(f"{record.account} with a wrong password", leave(wrong), claim=claim_id)
        case.twin(f"{record.account} with the right password", leave(door.log_in(record.account)))
        return
    if record.by == "action":
        prepare(case, record.on, record.action)
    session = case.value(door.log_in(record.account), f"log-in of {record.account}")
    if record.by == "action":
        case.twin(record.action, session.do(record.action))
    elif record.by == "denied-action":
        case.expect_denied(f"{record.account}: {record.action}", door, session.do(record.action), claim=claim_id)
    case.twin("log-out", session.log_out())


def leave(outcome: Outcome[object]) -> Outcome[object]:
    """End the session that a log-in opened, if it did."""
    if isinstance(outcome, Accepted):
        outcome.value.log_out()  # type: ignore[attr-defined]
    return outcome


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
