"""Only passwords that follow the claimed rule can be chosen; a refused one changes nothing."""

from __future__ import annotations

from harness.case import Case
from harness.device.http import HttpSession, HttpSurface
from harness.device.outcomes import Accepted, Outcome, Refused, name_of
from harness.procedures.acting import Newcomer, acting, add_account, reads
from harness.rig.claims import PasswordRuleClaim
from harness.rig.rig_file import Effect
from harness.testcase import About, contributes, each_surface, testcase, verifies


@testcase(
    "AUTH-PASSWORD-RULE",
    title="Only passwords that follow the claimed rule can be chosen, and a refused one changes nothing",
    tags=[
        verifies("NMPA-2022/PAUT", "NMPA-2020/IFU-access", "FDA-A1/A", "FDA-VC/REQ"),
        contributes("ANSM-2019/CRIT-C", "MDS2-2019/PAUT"),
    ],
    about=About(property="confidentiality", phase="design", method="function", threat="a password easily guessed"),
    effects=[Effect.ACCOUNTS],
    slow=True,
)
@each_surface(PasswordRuleClaim)
def test_rule(case: Case, claim_id: str, surface: str) -> None:
    claim = case.bench.rig.device.claims_of(PasswordRuleClaim)[claim_id]
    door = case.bench.http(surface)
    case.attack(surface, f"passwords that break the rule: {', '.join(claim.refused)}")
    who = add_account(case, surface)
    bad = {
        why: example.format(user=who.user, USER=who.user.upper(), present=who.password)
        for why, example in claim.refused.items()
    }
    good = list(claim.accepted)
    for password in good:
        case.bench.wiring.hide(password)

    with case.step("Chosen by the account"):
        for why, password in bad.items():
            session = case.value(door.try_log_in(who.user, who.password), f"log-in of {who.user}")
            outcome = session.do("own-password", old=who.password, new=password)
            refused(case, claim_id, door, f"{why}: chosen by the account", outcome)
            if isinstance(outcome, Accepted):
                give(case, door, who, aside=good)
            else:
                case.twin(f"{why}: the session goes on", door.read_in(session, "uptime"))
                old_one_holds(case, claim_id, door, who, password=password, why=why)
            session.log_out()
    with case.step("Given by an administrator of accounts"), acting(case, surface, "user-set-password") as session:
        for why, password in bad.items():
            outcome = session.do("user-set-password", user=who.user, password=password)
            refused(case, claim_id, door, f"{why}: given to the account", outcome)
            if isinstance(outcome, Accepted):
                give(case, door, who, aside=good)
        # None of them all has taken the place of the first.
        case.expect_accepted("the password from before", visit(door, who.user, who.password), claim=claim_id)
    with case.step("For a new account"):
        new_accounts(case, claim_id, door, who=who)
    with case.step("What follows the rule is taken"):
        present = who.password
        for password in [each for each in good if each != present]:
            session = case.value(door.try_log_in(who.user, present), f"log-in of {who.user}")
            outcome = session.do("own-password", old=present, new=password)
            case.expect_accepted("a password that follows the rule", outcome, claim=claim_id)
            session.drop()
            if isinstance(outcome, Accepted):
                case.expect_refused("the one before", visit(door, who.user, present), claim=claim_id)
                case.twin("the new one", visit(door, who.user, password))
                present = password


@testcase(
    "AUTH-PASSWORD-OLD",
    title="Nobody changes his password without the old one",
    tags=[
        verifies("NMPA-2022/PAUT", "NMPA-2020/IFU-access", "FDA-A1/A"),
        contributes("ANSM-2019/CRIT-C", "MDS2-2019/PAUT"),
    ],
    about=About(property="confidentiality", phase="design", method="penetration", threat="a stolen session"),
    effects=[Effect.ACCOUNTS],
    unqualified=True,
)
@each_surface(PasswordRuleClaim)
def test_old_password(case: Case, claim_id: str, surface: str) -> None:
    door = case.bench.http(surface)
    case.attack(surface, "a new password without the old one")
    who = add_account(case, surface)
    new = str(door.spec.actions["user-set-password"].args["password"])
    case.bench.wiring.hide(new)
    session = case.value(door.try_log_in(who.user, who.password), f"log-in of {who.user}")
    for old, title in (("", "none"), (new, "the new one"), (who.password.swapcase(), "another case")):
        if old == who.password:
            continue  # one that has no letters
        case.expect_refused(f"old password: {title}", session.do("own-password", old=old, new=new), claim=claim_id)
        case.twin("the right one in between", visit(door, who.user, who.password))
    case.expect_refused("the new password", visit(door, who.user, new), claim=claim_id)
    case.twin("with the old one", session.do("own-password", old=who.password, new=new))
    session.drop()
    case.twin("the new password now", visit(door, who.user, new))


def refused(case: Case, claim_id: str, door: HttpSurface, title: str, outcome: Outcome[object]) -> None:
    """Refused for what it is: not for the role, nor for want of a log-in."""
    other = door.denied(outcome) or door.ended(outcome)
    held = False if isinstance(outcome, Accepted) else True if isinstance(outcome, Refused) and not other else None
    case.check(title, held=held, expected="refused for the password", observed=name_of(outcome), claim=claim_id)


def old_one_holds(case: Case, claim_id: str, door: HttpSurface, who: Newcomer, *, password: str, why: str) -> None:
    """The password from before still opens, the refused one does not."""
    if password != who.password:
        case.expect_refused(f"{why}: log-in with it", visit(door, who.user, password), claim=claim_id)
    case.expect_accepted(f"{why}: log-in with the one before", visit(door, who.user, who.password), claim=claim_id)


def give(case: Case, door: HttpSurface, who: Newcomer, *, aside: list[str]) -> None:
    """Give the account its first password back, by way of another one, so that it is not the present one."""
    other = next(password for password in aside if password != who.password)
    with acting(case, door.name, "user-set-password") as session:
        for password in (other, who.password):
            case.value(session.do("user-set-password", user=who.user, password=password), "the first password again")


def new_accounts(case: Case, claim_id: str, door: HttpSurface, *, who: Newcomer) -> None:
    """No account is made with a password that breaks the rule."""
    claim = case.bench.rig.device.claims_of(PasswordRuleClaim)[claim_id]
    made = Newcomer(who.user[:-1] + ("8" if who.user[-1] != "8" else "9"), who.role, who.password)
    before = reads(case, door.name, "user-list")
    with acting(case, door.name, "user-add") as session:
        for why, example in claim.refused.items():
            if "{present}" in example:
                continue  # a new account has no present password
            password = example.format(user=made.user, USER=made.user.upper())
            outcome = session.do("user-add", user=made.user, role=made.role, password=password)
            refused(case, claim_id, door, f"{why}: for a new account", outcome)
            if isinstance(outcome, Accepted):
                case.value(session.do("user-remove", user=made.user), "removing it")
        outcome = session.do("user-add", user=made.user, role=made.role, password=made.password)
        case.twin("a new account with a password that follows the rule", outcome)
        case.value(session.do("user-remove", user=made.user), "removing it")
    case.unchanged("the accounts", before=before, after=reads(case, door.name, "user-list"))


def visit(door: HttpSurface, user: str, password: str) -> Outcome[HttpSession]:
    """Log in and out again; the outcome is the log-in's."""
    outcome = door.try_log_in(user, password)
    if isinstance(outcome, Accepted):
        outcome.value.log_out()
    return outcome
