"""What is in the audit log stays there as it is: no request changes it, and no text that is entered forges a record."""

from __future__ import annotations

import re
from collections.abc import Iterator

from harness.case import Case
from harness.device.dialogue import DialogueSurface
from harness.device.http import HttpSession, HttpSurface
from harness.device.log_in import LogInSurface, Session
from harness.device.messages import MessageSurface
from harness.device.outcomes import Accepted, NoAnswer, Refused, name_of
from harness.links.http import HttpRequest
from harness.procedures.acting import permitted, takes_text, text_arguments
from harness.procedures.audit_log import Entry, entries, expect_kept, lines, number_of, read
from harness.procedures.refused_log_ins import RefusedLogIns
from harness.rig.claims import AuditClaim
from harness.rig.device_file import DeviceFile
from harness.rig.device_file import HttpSurface as HttpSpec
from harness.rig.device_file import LogInSurface as LogInSpec
from harness.rig.http_surface import HttpAction
from harness.rig.rig_file import Effect
from harness.testcase import About, Instance, contributes, each, testcase, verifies
from harness.verdict import Undecided

TAGS = [
    verifies("NMPA-2022/AUDT", "FDA-A1/F"),
    contributes("ANSM-2019/CRIT-A", "ANSM-2019/CRIT-I", "MDS2-2019/AUDT"),
]
EFFECTS = [Effect.ACCOUNTS, Effect.CONFIGURATION, Effect.DATA]

METHODS = ("DELETE", "PUT", "POST", "PATCH")
"""Methods by which something is changed (RFC 9110, RFC 5789)."""
LINE_ENDS = ("", "\n", "\r\n")
AHEAD = 1000
"""How far the number of a forged record is beyond the last one: no record of the device comes near it."""


def over_http(device: DeviceFile) -> Iterator[Instance]:
    """Audit logs that are read by a request, which has other methods."""
    for claim_id, claim in device.claims_of(AuditClaim).items():
        if isinstance(device.surfaces[claim.surface], HttpSpec):
            yield Instance(claim_id, (claim_id,))


@testcase(
    "AUDIT-TAMPER",
    title="No request by anybody, in whatever role, changes or removes a record of the audit log",
    tags=TAGS,
    about=About(property="auditability", phase="monitoring", method="penetration", threat="a user covers his tracks"),
    effects=EFFECTS,
)
@each("claim_id", over_http)
def test_tamper(case: Case, claim_id: str) -> None:
    claim = case.bench.rig.device.claims_of(AuditClaim)[claim_id]
    api = case.bench.http(claim.surface)

    case.attack(claim.surface, f"{', '.join(METHODS)} on the audit log in every role")
    with case.step("The log before"):
        before = read(case, claim)
    with case.step("Nobody logged in"):
        for title, request in changing(api, claim, before[-1]).items():
            case.expect_refused(f"nobody: {title}", api.send(request, action=title), claim=claim_id)
    for account, declared in api.accounts.items():
        with case.step(declared.role), api.session(account) as opened:
            session = case.value(opened, f"log-in of {account}")
            for title, request in changing(api, claim, before[-1], session=session).items():
                outcome = session.send(request, action=title)
                case.expect_refused(f"{declared.role}: {title}", outcome, claim=claim_id)
                if isinstance(outcome, NoAnswer):
                    return
            if declared.role in claim.readers:
                case.twin(f"{declared.role}: {claim.action}", session.do(claim.action))
            else:
                expect_open(case, api, session)
    with case.step("The log after"):
        expect_kept(case, claim_id, before=before, log=read(case, claim))


def changing(
    api: HttpSurface, claim: AuditClaim, last: Entry, *, session: HttpSession | None = None
) -> dict[str, HttpRequest]:
    """Return requests that would change the log, or its last record, by what they do; declared ones left out."""
    reading = api.spec.actions[claim.action]
    log = path_of(reading)
    declared = {(action.method, path_of(action)) for action in api.spec.actions.values()}
    record = {claim.line.rpartition("/")[2]: [forged(claim, last)]}
    requests = {}
    for path in (log, f"{log}/{last.number}"):
        for method in METHODS:
            if (method, path) in declared:
                continue
            body = None if method == "DELETE" else record
            spec = reading.model_copy(update={"method": method, "path": path, "body": body})
            requests[f"{method} {path}"] = api.fill(spec, reading.harmless, session=session)
    return requests


def path_of(action: HttpAction) -> str:
    """Return the path of an action without its query."""
    return action.path.partition("?")[0]


@testcase(
    "AUDIT-FORGED",
    title="No text that is entered, as a user name or anywhere else, forges a record of the audit log or breaks one",
    tags=TAGS,
    about=About(property="auditability", phase="monitoring", method="penetration", threat="a forged record"),
    effects=EFFECTS,
)
@each("claim_id", lambda device: [Instance(claim_id, (claim_id,)) for claim_id in device.claims_of(AuditClaim)])
def test_forged(case: Case, claim_id: str) -> None:
    claim = case.bench.rig.device.claims_of(AuditClaim)[claim_id]
    doors = [case.bench.log_in_surface(name) for name in entrances(case.bench.rig.device, claim)]

    for door in doors:
        case.attack(door.name, "a forged record as a user name, and in every text that an action takes")
    with case.step("The log before"):
        shown = lines(case, claim)
        before = entries(case, claim, shown)
    record = forged(claim, before[-1])
    texts = [record if not end else f"x{end}{record}{end}" for end in LINE_ENDS]
    for door in doors:
        if door.declared.names_users and door.declared.asks_password:
            with case.step(f"As a user name on {door.name}"):
                as_names(case, door, [text for text in texts if carries(door, text)])
        for account in door.accounts:
            if fields := entered(case, door, account):
                with case.step(f"In the texts of actions of {door.name}, by {account}"):
                    as_arguments(case, door, account, fields=fields, texts=texts)
    with case.step("The log after"):
        log = lines(case, claim)
        found = [line for line in log if line == record or number_of(claim, line) == number_of(claim, record)]
        case.check(
            "no line reads as the forged record", held=not found, expected=f"not {record}",
            observed=found[0] if found else f"none of {len(log)} lines", claim=claim_id,
        )  # fmt: skip
        odd = [line for line in log if number_of(claim, line) is None and line not in shown]
        case.check(
            "every line is a record", held=not odd, expected=claim.record,
            observed=odd[0] if odd else f"{len(log)} records", claim=claim_id,
        )  # fmt: skip
        if not found and not odd:
            expect_kept(case, claim_id, before=before, log=entries(case, claim, log))


def forged(claim: AuditClaim, last: Entry) -> str:
    """Return a record that was never made: the last one, with a number that none has.

    Raises:
        Undecided: the log holds no record.
    """
    match = re.fullmatch(claim.record, last.line)
    if match is None:
        raise Undecided("the log holds no record to forge another one from")
    start, end = match.span("number")
    return f"{last.line[:start]}{last.number + AHEAD:0{end - start}d}{last.line[end:]}"


def entrances(device: DeviceFile, claim: AuditClaim) -> list[str]:
    """Return the surfaces where people log in of which the log has records."""
    names = dict.fromkeys([claim.surface, *(record.on for record in claim.records.values())])
    return [name for name in names if isinstance(device.surfaces[name], LogInSpec)]


def carries(door: LogInSurface, text: str) -> bool:
    """A dialogue and a message take lines: what ends one is the business of other testcases."""
    return not isinstance(door, DialogueSurface | MessageSurface) or (text.isprintable() and door.carries(text))


def as_names(case: Case, door: LogInSurface, texts: list[str]) -> None:
    """Try to log in by texts for names; what is said to them is free, but nobody may be let in."""
    known = next(iter(door.accounts))
    with door.entrance() as prompt:
        spent = RefusedLogIns(case, door.name, prompt)
        for text in texts:
            outcome = prompt.attempt(text, "not-the-password")
            held = None if isinstance(outcome, Accepted | NoAnswer) else True
            case.check(f"nobody is called {text[:40]!r}", held=held, expected="not let in", observed=name_of(outcome))
            spent.one_more()
        case.twin(f"{known} at the same place", prompt.visit(known))


def entered(case: Case, door: LogInSurface, account: str) -> list[tuple[str, str]]:
    """Return actions and their arguments that are text, for an account: the first that may, or the first that may not.

    A refusal may stand in the log with what was asked for.
    """
    fields = []
    for name, action in door.actions.items():
        able = permitted(case, door.name, name)
        unable = [each for each in door.accounts if each not in able]
        if account in (*able[:1], *unable[:1]) and set(action.effects) <= set(EFFECTS):
            fields += [(name, argument) for argument in text_arguments(action)]
    return fields


def as_arguments(
    case: Case, door: LogInSurface, account: str, *, fields: list[tuple[str, str]], texts: list[str]
) -> None:
    """Give texts as arguments of actions; whether they are taken or refused is the business of other testcases."""
    with door.session(account) as opened:
        session = case.value(opened, f"log-in of {account}")
        for action, argument in fields:
            for text in texts:
                if not takes_text(door, door.actions[action], argument, text):
                    continue
                outcome = session.do(action, **{argument: text})
                if not isinstance(outcome, Accepted | Refused):
                    title = f"{action} with {argument} {text[:40]!r}"
                    case.check(title, held=None, expected="an answer", observed=name_of(outcome))
                    return
        expect_open(case, door, session)


def expect_open(case: Case, door: LogInSurface, session: Session) -> None:
    """A control: the session is still open, so that what it asked for was judged by what it was."""
    outcome = door.ask_inside(session)
    held = isinstance(outcome, Accepted | Refused) and not door.ended(outcome)
    title = f"the session of {session.account} is still open"
    case.check(title, held=held or None, expected="open", observed=name_of(outcome))
