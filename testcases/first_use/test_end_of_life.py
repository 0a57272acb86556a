"""The end of life: a factory reset by those who may leaves nothing of what was entered, and no key."""

from __future__ import annotations

from harness.case import Case
from harness.device.http import HttpSurface
from harness.device.outcomes import Accepted, Refused, name_of
from harness.device.traces import canary, traces
from harness.procedures.acting import Newcomer, add_account, do, permitted, reads
from harness.procedures.life import erase, set_up
from harness.procedures.server_keys import KEY, shown_marks
from harness.rig.claims import AuditClaim, EndOfLifeClaim, FirstUseClaim, PatientClaim
from harness.rig.log_in_surface import ActionBase
from harness.rig.rig_file import Effect
from harness.testcase import About, contributes, each_surface, testcase, verifies
from harness.verdict import Undecided
from harness.watch import IncidentKind

TAGS = [
    verifies("NMPA-2022/STCF", "NMPA-2022/AUTH", "NMPA-2020/IFU-access", "FDA-A1/B", "FDA-A1/E"),
    contributes("ANSM-2019/CRIT-C", "MDS2-2019/STCF"),
]
EFFECTS = [Effect.IRREVERSIBLE, Effect.ACCOUNTS, Effect.CONFIGURATION, Effect.DATA]


@testcase(
    "ERASE-DENIED",
    title="Nobody erases the device whose role may not, nor by mistake",
    tags=TAGS,
    about=About(property="availability", phase="end of life", method="penetration", threat="a user erases the device"),
    effects=EFFECTS,
    slow=True,
    unqualified=True,
    version=2,
)
@each_surface(EndOfLifeClaim)
def test_denied(case: Case, claim_id: str, surface: str) -> None:
    claim = case.bench.rig.device.claims_of(EndOfLifeClaim)[claim_id]
    door = case.bench.http(surface)
    right = claim.confirm.format(serial=case.bench.rig.file.item.serial)
    case.attack(surface, "factory reset by who may not, and with a wrong confirmation")
    before = {action: reads(case, surface, action) for action in ("user-list", "patient-list")}
    case.expect_refused("without log-in", door.do("factory-reset", confirm=right), claim=claim_id)
    for account, declared in door.accounts.items():
        with door.session(account) as opened:
            session = case.value(opened, f"log-in of {account}")
            if declared.role not in claim.roles:
                outcome = session.do("factory-reset", confirm=right)
                case.expect_denied(f"{declared.role}", door, outcome, claim=claim_id)
                continue
            for wrong in ("", right.lower(), right[:-1], f"{right}0", right.replace(right[-3:], "999")):
                if wrong == right:
                    continue  # one that has no letters, or ends in 999
                title, outcome = f"{declared.role} with {wrong!r}", session.do("factory-reset", confirm=wrong)
                if isinstance(outcome, Refused) and door.denied(outcome):
                    case.check(title, held=False, expected="refused, but not for the role",
                               observed=name_of(outcome), claim=claim_id)  # fmt: skip
                else:
                    case.expect_refused(title, outcome, claim=claim_id)
    for action, rows in before.items():
        case.unchanged(action, before=rows, after=reads(case, surface, action))
    with case.step("Twin: who may, with the right confirmation"):
        with case.expecting(IncidentKind.RESTART, within=3 * claim.within):
            erase(case, claim)
        case.twin("setting up", set_up(case, first_use(case, surface)))


@testcase(
    "ERASE-ALL",
    title="After a factory reset nothing is left of what was entered, and the unit's keys are new",
    tags=TAGS,
    about=About(property="confidentiality", phase="end of life", method="function", threat="data on a disused device"),
    effects=EFFECTS,
    slow=True,
    version=2,
)
@each_surface(EndOfLifeClaim)
def test_erased(case: Case, claim_id: str, surface: str) -> None:
    claim = case.bench.rig.device.claims_of(EndOfLifeClaim)[claim_id]
    start = first_use(case, surface)
    door = case.bench.http(surface)
    mark = canary("letters")
    case.attack(surface, "what was entered is looked for after a factory reset")
    with case.step("Enter something of everything"):
        patient = patient_with(case, surface, mark)
        who = add_account(case, surface)
        delivered = settings(case, door, start.account)
        change_settings(case, door)
        changed = settings(case, door, start.account)
        token = case.value(door.try_log_in(who.user, who.password), f"log-in of {who.user}")
        case.twin("the account", door.read_in(token, "uptime"))
        keys = [shown_keys(case, claim)]
    # Both resets: the proof of life sees from the clock that there was a restart, not how many.
    with case.step("Factory reset"), case.expecting(IncidentKind.RESTART, within=8 * claim.within):
        erase(case, claim)
        door = case.bench.http(surface)
    with case.step("The unit's keys"):
        keys.append(shown_keys(case, claim))
        for link, key in keys[0].items():
            case.check(f"the key of {link}", held=key != keys[1][link], expected=f"not {key}", observed=keys[1][link],
                       claim=claim_id)  # fmt: skip
    with case.step("Set up anew, nothing is left"):
        case.value(set_up(case, start), "setting up")
        gone(case, claim_id, door, who)
        case.expect_refused("the token from before", token.do("status"), claim=claim_id)
        token.drop()
        if patient:
            left = reads(case, surface, "patient-list")
            case.check("patients", held=not left, expected="none", observed=f"{len(left)}", claim=claim_id)
        now = settings(case, door, start.account)
        for name, value in now.items():
            if changed[name] != delivered[name]:
                case.check(f"{name} is not as entered", held=value != changed[name], expected=f"not {changed[name]}",
                           observed=value, claim=claim_id)  # fmt: skip
        old_records(case, claim_id, claim, surface, [who.user, mark])
    with case.step("A second reset makes other keys again"):
        erase(case, claim)
        keys.append(shown_keys(case, claim))
        for link, key in keys[1].items():
            case.check(f"the key of {link} after the second", held=key != keys[2][link], expected=f"not {key}",
                       observed=keys[2][link], claim=claim_id)  # fmt: skip
    case.value(set_up(case, start), "setting up")


def first_use(case: Case, surface: str) -> FirstUseClaim:
    """The claim that says how the device is set up again."""
    claims = case.bench.rig.device.claims_of(FirstUseClaim, surface=surface)
    if not claims:
        raise Undecided("no claim says how the device is set up after a reset")
    return next(iter(claims.values()))


def patient_with(case: Case, surface: str, mark: str) -> dict[str, str]:
    """Enter a patient whose every text holds the canary; nothing where no patients are kept here."""
    claims = case.bench.rig.device.claims_of(PatientClaim, surface=surface)
    for claim in claims.values():
        patient = {name: text.format(canary=mark) for name, text in claim.sample.items()}
        case.value(do(case, surface, "patient-add", **patient), "entering a patient")
        found = [row for row in reads(case, surface, "patient-list") if row["id"] == patient["id"]]
        case.check("the patient is there", held=bool(found) or None, expected=1, observed=len(found))
        return patient
    return {}


def entered(action: ActionBase) -> bool:
    """Whether an action sets something to a declared harmless value; to start or stop enters nothing."""
    harmless = action.ready and not action.declined and "configuration" in action.effects
    return harmless and bool(getattr(action, "args", ()))


def settings(case: Case, door: HttpSurface, keeper: str) -> dict[str, object]:
    """Return the fields that a declared harmless action changes, apart from the lists."""
    seen: dict[str, object] = {}
    for action in door.actions.values():
        name = action.changes
        if name and entered(action):
            able = permitted(case, door.name, door.fields[name].action)
            account = keeper if keeper in able else able[0]
            with door.session(account) as opened:
                seen[name] = case.value(door.read_in(case.value(opened, "log-in"), name), name)
    return seen


def change_settings(case: Case, door: HttpSurface) -> None:
    """Carry the declared harmless changes of settings out."""
    for name, action in door.actions.items():
        if action.changes and entered(action):
            case.value(do(case, door.name, name), name)


def shown_keys(case: Case, claim: EndOfLifeClaim) -> dict[str, str]:
    """Return the public key that each claimed link shows; a certificate may be new though its key is not."""
    return {link: shown_marks(case, link)[KEY] for link in claim.keys}


def gone(case: Case, claim_id: str, door: HttpSurface, who: Newcomer) -> None:
    """No account from before opens anything, but the one that setting up has made."""
    made = first_use(case, door.name).account
    outcomes = {name: door.log_in(name) for name in door.accounts if name != made}
    outcomes[who.user] = door.try_log_in(who.user, who.password)
    for name, outcome in outcomes.items():
        if isinstance(outcome, Accepted):
            outcome.value.log_out()
        case.expect_refused(f"{name} with the password from before", outcome, claim=claim_id)
    users = [row["user"] for row in reads(case, door.name, "user-list")]
    case.check("the accounts", held=users == [made], expected=[made], observed=users, claim=claim_id)


def old_records(case: Case, claim_id: str, claim: EndOfLifeClaim, surface: str, texts: list[str]) -> None:
    """The audit log begins anew: it has records, none of what was done before."""
    if "audit" not in claim.erases:
        return
    for audit in case.bench.rig.device.claims_of(AuditClaim, surface=surface).values():
        answer = case.value(do(case, surface, audit.action), "the audit log")
        lines = answer.all(audit.line)
        case.check("the audit log says how it began", held=bool(lines), expected="records", observed=len(lines),
                   claim=claim_id)  # fmt: skip
        found = traces(answer.text, {text: text for text in texts})
        case.check("records from before", held=not found, expected=[], observed=[str(each) for each in found],
                   claim=claim_id)  # fmt: skip
