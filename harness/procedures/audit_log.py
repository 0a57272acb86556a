"""The audit log as a testcase works with it: read by a role that may, records provoked, looked for, and kept."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.case import Case
from harness.device.outcomes import Accepted, NoAnswer, Outcome, Refused
from harness.procedures.acting import prepare
from harness.rig.claims import AuditClaim, AuditRecord
from harness.verdict import Undecided

__all__ = [
    "Entry",
    "another_kind",
    "entries",
    "expect_kept",
    "expect_record",
    "fits",
    "lines",
    "number_of",
    "provoke",
    "read",
    "shown_at_most",
]


@dataclass(frozen=True, slots=True)
class Entry:
    """One record of the log: its number, its fields, and the line as it was read."""

    number: int
    fields: dict[str, str]
    line: str


def lines(case: Case, claim: AuditClaim) -> list[str]:
    """Read the log as a role that may, and return its lines as they are.

    A line that was disturbed on its way is odd or missing: what the log really has is so in a second reading, too.

    Raises:
        Undecided: the log-in or the reading is not accepted.
    """
    shown = _once(case, claim)
    numbers = [number_of(claim, line) for line in shown]
    return shown if _steady(numbers) else _once(case, claim)


def _once(case: Case, claim: AuditClaim) -> list[str]:
    door = case.bench.log_in_surface(claim.surface)
    reader = next(name for name, account in door.accounts.items() if account.role in claim.readers)
    with door.session(reader) as session:
        answer = case.value(case.value(session, f"log-in of {reader}").do(claim.action), "reading the log")
    return answer.all(claim.line)


def read(case: Case, claim: AuditClaim) -> list[Entry]:
    """Read the log as a role that may, and return its records (`entries`).

    Raises:
        Undecided: the log-in or the reading is not accepted.
    """
    return entries(case, claim, lines(case, claim))


def entries(case: Case, claim: AuditClaim, shown: Sequence[str]) -> list[Entry]:
    """Return the records that lines are. What is none as declared, and a log without any, is left undecided."""
    found = []
    for line in shown:
        match = re.fullmatch(claim.record, line)
        if match is None:
            case.check("a record is as declared", held=None, expected=claim.record, observed=line)
            continue
        fields = {name: value or "" for name, value in match.groupdict().items()}
        found.append(Entry(number=int(fields["number"]), fields=fields, line=line))
    case.check("the log holds records", held=bool(found) or None, expected="records", observed=len(found))
    return found or [Entry(number=0, fields={}, line="")]


def number_of(claim: AuditClaim, line: str) -> int | None:
    """Return the number of a record; None where a line is none."""
    match = re.fullmatch(claim.record, line)
    return int(match["number"]) if match else None


def _steady(numbers: Sequence[int | None]) -> bool:
    """Whether all are numbers that go on by one."""
    first = numbers[0] if numbers else None
    return first is not None and list(numbers) == list(range(first, first + len(numbers)))


def fits(entry: Entry, record: AuditRecord) -> bool:
    """Whether every field of the record is as claimed."""
    return all(re.fullmatch(pattern, entry.fields.get(name, "")) for name, pattern in record.leaves.items())


def expect_record(case: Case, claim_id: str, kind: str, *, new: Sequence[Entry]) -> Entry | None:
    """A record of this kind must be among those that are `new`; return the first, None where there is none."""
    record = case.bench.rig.device.claims_of(AuditClaim)[claim_id].records[kind]
    found = [entry for entry in new if fits(entry, record)]
    case.check(
        f"{kind} is in the log",
        held=bool(found),
        expected=", ".join(f"{name}={value}" for name, value in record.leaves.items()),
        observed=found[0].line if found else "; ".join(entry.line for entry in new) or "no new record",
        claim=claim_id,
    )
    return found[0] if found else None


def expect_kept(case: Case, claim_id: str, *, before: Sequence[Entry], log: Sequence[Entry]) -> None:
    """What was read `before` must be there, unchanged, and the numbers must go on from it without gaps."""
    last = before[-1].number
    numbers = [entry.number for entry in log]
    # Records older than the window that is read may be gone; what is there goes on without a gap.
    window = shown_at_most(case.bench.rig.device.claims_of(AuditClaim)[claim_id])
    scrolled = window is not None and len(log) >= window and numbers[0] > last
    case.check(
        "the numbers go on from the marker without gaps",
        held=False if not _steady(numbers) else None if scrolled else last in numbers,
        expected=f"from {numbers[0]}, by one, over {last}",
        observed=f"{numbers[0]} to {numbers[-1]}, {len(numbers)} records",
        claim=claim_id,
    )
    earlier = {entry.number: entry.line for entry in before}
    again = {entry.number: entry.line for entry in log if entry.number in earlier}
    case.unchanged("what was in the log before", before={number: earlier[number] for number in again}, after=again)


def shown_at_most(claim: AuditClaim) -> int | None:
    """Return how many records an answer shows, None where nobody says."""
    return claim.shows or claim.keeps


def another_kind(claim: AuditClaim, kind: str) -> str:
    """Return a kind of record that comes about in another way than `kind`.

    Raises:
        Undecided: the claim has none.
    """
    way = claim.records[kind].by
    for name, record in claim.records.items():
        if record.by != way:
            return name
    raise Undecided(f"the claim names no record that comes about in another way than {kind}")


def provoke(case: Case, claim_id: str, record: AuditRecord) -> None:
    """Do what must leave the record.

    Raises:
        Undecided: it was not done as meant: then no record can be asked for.
    """
    if not _done(case, claim_id, record):
        raise Undecided(f"{record.by} on {record.on} was not done as meant: no record can be asked for")


def _done(case: Case, claim_id: str, record: AuditRecord) -> bool:
    match record.by:
        case "log-in" | "log-out" | "wrong-password" | "action" | "denied-action":
            return _logged_in(case, claim_id, record)
        case "wrong-authenticator":
            bus = case.bench.bus_commands(record.on)
            right = bus.command(bus.spec.clock)
            if isinstance(right, NoAnswer):
                return case.twin("a command", right)
            wrong = replace(right, authenticator=bytes(byte ^ 0x5A for byte in right.authenticator))
            return case.expect_refused("a wrong authenticator", bus.send(wrong), claim=claim_id)
        case "protected-write":
            modbus = case.bench.modbus(record.on)
            name, register = next((n, r) for n, r in modbus.spec.registers.items() if r.access == "protected")
            value = case.value(modbus.read_register(name), name)
            raw = round(float(value) / (register.scale or 1.0))
            return case.expect_refused(f"writing {name}", modbus.write(name, raw), claim=claim_id)
        case "right-key" | "wrong-key":
            uds = case.bench.uds(record.on)
            security = uds.spec.security
            if security is None:
                return case.check("security access", held=None, expected="declared", observed="not declared")
            case.twin(f"session {security.session}", uds.enter(security.session))
            seed = case.value(uds.seed(), "seed")
            key = uds.right_key(seed)
            if record.by == "right-key":
                return case.twin("the right key", uds.send_key(key))
            outcome = uds.send_key(bytes(byte ^ 0x5A for byte in key))
            return case.expect_refused("a wrong key", outcome, claim=claim_id)


def _logged_in(case: Case, claim_id: str, record: AuditRecord) -> bool:
    """Log in, log out, be refused, or carry out an action."""
    door = case.bench.log_in_surface(record.on)
    if record.by == "wrong-password":
        wrong = leave(door.log_in(record.account, "not-the-password"))
        if isinstance(wrong, Refused) and wrong.reason in ("locked", "full"):
            raise Undecided(f"{record.account} on {record.on} is {wrong.reason}")  # which leaves another record
        done = case.expect_refused(f"{record.account} with a wrong password", wrong, claim=claim_id)
        return case.twin(f"{record.account} with the right password", leave(door.log_in(record.account))) and done
    if record.by == "action":
        prepare(case, record.on, record.action)
    session = case.value(door.log_in(record.account), f"log-in of {record.account}")
    done = True
    if record.by == "action":
        done = case.twin(record.action, session.do(record.action))
    elif record.by == "denied-action":
        done = case.expect_denied(f"{record.account}: {record.action}", door, session.do(record.action), claim=claim_id)
    return case.twin("log-out", session.log_out()) and done


def leave(outcome: Outcome[object]) -> Outcome[object]:
    """End the session that a log-in opened, if it did."""
    if isinstance(outcome, Accepted):
        outcome.value.log_out()  # type: ignore[attr-defined]
    return outcome
