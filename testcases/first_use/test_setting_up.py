"""Setting up: with the code of the label, once, and with no other way in before."""

from __future__ import annotations

import re
import time
from threading import Event

from harness.case import Case
from harness.device.guesses import guesses
from harness.device.http import HttpSurface
from harness.device.log_in import LogInSurface, Session
from harness.device.outcomes import Accepted, Outcome, Refused
from harness.links.stream import StreamLink
from harness.procedures.acting import reads
from harness.procedures.life import erase, set_up
from harness.rig.claims import EndOfLifeClaim, FirstUseClaim, PasswordRuleClaim
from harness.rig.rig_file import Effect, SshLinkSpec
from harness.testcase import About, contributes, each_surface, testcase, verifies
from harness.verdict import Undecided
from harness.watch import IncidentKind

POLL = 0.25
WRONG = "wrong-code-{}"
GUESSES = 5
"""Guessable passwords of each account that are tried before it is set up; a lock cannot be told from a refusal."""

TAGS = [
    verifies("NMPA-2022/PAUT", "NMPA-2022/AUTH", "NMPA-2020/IFU-access", "FDA-A1/A", "FDA-A1/B"),
    contributes("ANSM-2019/CRIT-C", "MDS2-2019/PAUT"),
]


@testcase(
    "FIRST-USE-CLOSED-AFTER",
    title="A device that is set up is not set up again, with the right code neither",
    tags=TAGS,
    about=About(property="confidentiality", phase="first use", method="penetration", threat="the label is read"),
    effects=[Effect.ACCOUNTS],
)
@each_surface(FirstUseClaim)
def test_set_up_again(case: Case, claim_id: str, surface: str) -> None:
    claim = case.bench.rig.device.claims_of(FirstUseClaim)[claim_id]
    door = case.bench.http(surface)
    case.attack(surface, "setting up a device that is set up")
    once_only(case, claim_id, door, claim)


def once_only(case: Case, claim_id: str, door: HttpSurface, claim: FirstUseClaim) -> None:
    """The code of the label and a good password: refused, and no account is made or changed by it."""
    other = other_password(case, claim)
    before = reads(case, door.name, "user-list")
    for title, code in (("the right code", code_of(case)), ("a wrong code", WRONG.format(0))):
        outcome = door.do("setup", code=code, password=other)
        case.expect_refused(f"setting up again with {title}", outcome, claim=claim_id)
    case.unchanged("the accounts", before=before, after=reads(case, door.name, "user-list"))
    taken = leave(door.try_log_in(claim.account, other))
    case.expect_refused(f"{claim.account} with the password of the second time", taken, claim=claim_id)
    case.twin(f"{claim.account} with its password", leave(door.log_in(claim.account)))


@testcase(
    "FIRST-USE",
    title="Before it is set up nobody gets in; setting up needs the code of the label, wrong codes start a delay",
    tags=[*TAGS, contributes("ANSM-2019/RISK-OBSC")],
    about=About(property="confidentiality", phase="first use", method="penetration", threat="an unguarded first use"),
    effects=[Effect.IRREVERSIBLE, Effect.ACCOUNTS, Effect.CONFIGURATION, Effect.DATA],
    slow=True,
)
@each_surface(FirstUseClaim)
def test_first_use(case: Case, claim_id: str, surface: str) -> None:
    claim = case.bench.rig.device.claims_of(FirstUseClaim)[claim_id]
    case.attack(surface, "first use by somebody who has no code")
    console = console_of(case, claim)
    mark = console.mark() if console else 0
    into_first_use(case, surface)
    door = case.bench.http(surface)
    with case.step("Nobody gets in"):
        nobody_gets_in(case, claim_id, claim)
        for action in ("status", "user-list", "patient-list", "backup"):
            if action in door.actions:
                case.expect_refused(f"{action} without log-in", door.do(action), claim=claim_id)
    with case.step("The banner"):
        shown = banner(case, claim, since=mark)
        case.check("the banner", held=shown or None if not claim.banner else shown, expected=claim.banner,
                   observed=shown, claim=claim_id)  # fmt: skip
    with case.step("A password that breaks the rule"):
        for why, password in bad_passwords(case, claim).items():
            outcome = door.do("setup", code=code_of(case), password=password)
            case.expect_refused(f"the right code with a password: {why}", outcome, claim=claim_id)
    with case.step("Wrong codes start the delay"):
        other, began = other_password(case, claim), 0.0
        for number in range(claim.wrong_codes):
            outcome = door.do("setup", code=WRONG.format(number), password=other)
            case.expect_refused(f"wrong code {number + 1}", outcome, claim=claim_id)
            began = time.monotonic()
        outcome = set_up(case, claim)
        case.expect_refused("the right code during the delay", outcome, claim=claim_id)
        if not isinstance(outcome, Refused):
            return
        released = asked = time.monotonic()
        while isinstance(outcome, Refused) and asked - began < claim.delay + 2 * claim.tolerance + 1:
            Event().wait(POLL)
            released, asked = asked, time.monotonic()
            outcome = set_up(case, claim)
        done = time.monotonic()
        case.timing(
            "time from the last wrong code until the right one is taken",
            measured=(released + done) / 2 - began if isinstance(outcome, Accepted) else None,
            low=claim.delay - claim.tolerance,
            high=claim.delay + claim.tolerance,
            uncertainty=(done - released) / 2,
            claim=claim_id,
        )
        case.value(outcome, "setting up")
    with case.step("Set up"):
        rows = reads(case, surface, "user-list")
        found = [(row["user"], row["role"]) for row in rows]
        case.check("the accounts", held=found == [(claim.account, claim.role)],
                   expected=f"{claim.account}, {claim.role}", observed=found, claim=claim_id)  # fmt: skip
        once_only(case, claim_id, door, claim)


def into_first_use(case: Case, surface: str) -> None:
    """Erase the device by its own means: the only way to first use."""
    claims = case.bench.rig.device.claims_of(EndOfLifeClaim, surface=surface)
    if not claims:
        raise Undecided("no claim says how the device comes to first use")
    claim = next(iter(claims.values()))
    with case.step("Factory reset"), case.expecting(IncidentKind.RESTART, within=3 * claim.within):
        erase(case, claim)


def nobody_gets_in(case: Case, claim_id: str, claim: FirstUseClaim) -> None:
    """Neither declared nor default passwords open anything. An SSH link has another host key now, and is left out."""
    device, links = case.bench.rig.device, case.bench.rig.file.links
    serial = case.bench.rig.file.item.serial
    for name in claim.closed:
        if isinstance(links[device.surfaces[name].link], SshLinkSpec):
            continue
        door = case.bench.log_in_surface(name)
        for account in door.accounts:
            title = f"{account} on {name}"
            case.expect_refused(
                f"{title}, password from before", knock(door, account, door.accounts[account].password), claim=claim_id
            )
            for password in guesses(device, account, serial=serial)[:GUESSES]:
                outcome = knock(door, account, password)
                case.expect_refused(f"{title} with {password!r}", outcome, claim=claim_id)


def knock(door: LogInSurface, user: str, password: str) -> Outcome[object]:
    """Try to log in. Over HTTP any refusal will do: a device that knows no log-in yet has other words for it."""
    if isinstance(door, HttpSurface):
        return door.send(door.fill(door.spec.login, {"account": user, "password": password}))
    return leave(door.try_log_in(user, password))


def console_of(case: Case, claim: FirstUseClaim) -> StreamLink | None:
    """The line of the claim's console, None where it names none."""
    if not claim.console:
        return None
    stream = case.bench.wiring.open_stream(claim.console)
    if not isinstance(stream, StreamLink):
        raise Undecided("no console")
    return stream


def banner(case: Case, claim: FirstUseClaim, *, since: int) -> bool:
    """Whether the console says that the device is in first use; it may do so after the surface answers."""
    console = console_of(case, claim)
    if console is None:
        return False
    wanted = re.compile(claim.banner.encode())
    return console.expect(wanted, since=since, timeout=case.bench.wiring.answer_within) is not None


def code_of(case: Case) -> str:
    """The code on the label of the unit on the rig."""
    code = case.bench.rig.file.item.setup_code
    if not code:
        raise Undecided("the rig file does not say the code on the unit's label (item.setup_code)")
    return code


def rules(case: Case) -> list[PasswordRuleClaim]:
    """What is claimed of passwords."""
    return list(case.bench.rig.device.claims_of(PasswordRuleClaim).values())


def other_password(case: Case, claim: FirstUseClaim) -> str:
    """A password that follows the rule and is not the declared one."""
    present = case.bench.rig.device.accounts[claim.account].password
    for rule in rules(case):
        for password in rule.accepted:
            if password != present:
                case.bench.wiring.hide(password)
                return password
    return present[::-1]


def bad_passwords(case: Case, claim: FirstUseClaim) -> dict[str, str]:
    """Passwords that break the rule, but for the one about the present one: there is none yet."""
    return {
        why: example.format(user=claim.account, USER=claim.account.upper())
        for rule in rules(case)
        for why, example in rule.refused.items()
        if "{present}" not in example
    }


def leave(outcome: Outcome[Session]) -> Outcome[Session]:
    """End the session that a log-in opened, if it did."""
    if isinstance(outcome, Accepted):
        outcome.value.log_out()
    return outcome
