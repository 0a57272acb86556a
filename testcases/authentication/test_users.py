"""Accounts made on the device: they open what their role opens, everywhere, and nothing once they are removed."""

from __future__ import annotations

from collections.abc import Iterator

from harness.case import Case
from harness.device.log_in import Session
from harness.device.outcomes import Accepted, Outcome
from harness.procedures.acting import Newcomer, acting, add_account, do, permitted, reads
from harness.rig.claims import AccountClaim
from harness.rig.device_file import DeviceFile, HttpSurface
from harness.rig.rig_file import Effect
from harness.testcase import About, Instance, contributes, each, testcase, verifies
from harness.verdict import Undecided


def administered(device: DeviceFile) -> Iterator[Instance]:
    """Every surface of an accounts claim on which accounts are made."""
    for claim_id, claim in device.claims_of(AccountClaim).items():
        for surface in claim.surfaces:
            spec = device.surfaces[surface]
            if isinstance(spec, HttpSurface) and "user-add" in spec.actions:
                yield Instance(surface, (claim_id, surface))


@testcase(
    "AUTH-USER-LIFE",
    title="An account opens what its role opens from when it is made, and nothing after it is removed",
    tags=[
        verifies("NMPA-2022/PAUT", "NMPA-2022/AUTH", "NMPA-2020/IFU-access", "FDA-A1/A", "FDA-A1/B"),
        contributes("ANSM-2019/CRIT-C", "MDS2-2019/PAUT"),
    ],
    about=About(property="confidentiality", phase="design", method="function", threat="an account of former staff"),
    effects=[Effect.ACCOUNTS],
    unqualified=True,
    slow=True,
)
@each("claim_id, surface", administered)
def test_life(case: Case, claim_id: str, surface: str) -> None:
    claim = case.bench.rig.device.claims_of(AccountClaim)[claim_id]
    everywhere = list(claim.surfaces)
    for name in everywhere:
        case.attack(name, "log-ins of an account before it is made, while it is there, after it is removed")
    before = reads(case, surface, "user-list")
    declared = {name: str(value) for name, value in case.bench.http(surface).spec.actions["user-add"].args.items()}
    case.bench.wiring.hide(declared["password"])
    nobody = Newcomer(declared["user"], declared["role"], declared["password"])
    closed(case, claim_id, everywhere, nobody, "before it is made")
    for role in dict.fromkeys(account.role for account in case.bench.rig.device.accounts.values()):
        with case.step(f"Made as {role}"):
            who = add_account(case, surface, role=role)
            open_where_the_role_is(case, claim_id, everywhere, who)
        with case.step("Removed"):
            case.value(do(case, surface, "user-remove", user=who.user), "removing it")
            closed(case, claim_id, everywhere, who, f"removed as {role}")
    case.unchanged("the accounts", before=before, after=reads(case, surface, "user-list"))


@testcase(
    "AUTH-ROLE-CHANGE",
    title="Another role holds at once: what the former role allowed is refused, what the new one allows works",
    tags=[
        verifies("NMPA-2022/AUTH", "NMPA-2020/IFU-access", "FDA-A1/B"),
        contributes("ANSM-2019/CRIT-I", "MDS2-2019/AUTH"),
    ],
    about=About(property="integrity", phase="design", method="function", threat="a user keeps a former role"),
    effects=[Effect.ACCOUNTS],
    unqualified=True,
    slow=True,
)
@each("claim_id, surface", administered)
def test_role_change(case: Case, claim_id: str, surface: str) -> None:
    claim = case.bench.rig.device.claims_of(AccountClaim)[claim_id]
    door = case.bench.http(surface)
    roles = list(dict.fromkeys(account.role for account in door.accounts.values()))
    case.attack(surface, "the actions of a former role")
    who = add_account(case, surface, role=roles[0])
    denied = 0
    for former, role in zip(roles, [*roles[1:], roles[0]], strict=True):
        with case.step(f"From {former} to {role}"):
            outcome = do(case, surface, "user-set-role", user=who.user, role=role)
            case.expect_accepted(f"{role} instead of {former}", outcome, claim=claim_id)
            now = Newcomer(who.user, role, who.password)
            open_where_the_role_is(case, claim_id, list(claim.surfaces), now)
            with_roles = {name: door.accounts[name].role for name in door.accounts}
            harmless = [
                name for name, each in door.actions.items() if each.ready and not each.effects and not each.declined
            ]
            able = {action: {with_roles[name] for name in permitted(case, surface, action)} for action in harmless}
            session = case.value(door.try_log_in(who.user, who.password), f"log-in of {who.user}")
            for action in [each for each, may in able.items() if former in may and role not in may]:
                denied += 1
                case.expect_denied(f"{action} as {former} no longer", door, session.do(action), claim=claim_id)
            for action in [each for each, may in able.items() if role in may]:
                case.expect_accepted(f"{action} as {role}", session.do(action), claim=claim_id)
            session.log_out()
    case.check("actions that a former role allowed", held=denied > 0 or None, expected="some", observed=denied)


@testcase(
    "AUTH-LAST-ADMINISTRATOR",
    title="The last account that administers accounts can be neither removed nor given another role",
    tags=[
        verifies("NMPA-2022/AUTH", "NMPA-2020/IFU-access", "FDA-A1/B"),
        contributes("ANSM-2019/CRIT-D", "MDS2-2019/AUTH"),
    ],
    about=About(property="availability", phase="design", method="function", threat="nobody can administer the device"),
    effects=[Effect.ACCOUNTS],
    unqualified=True,
)
@each("claim_id, surface", administered)
def test_last_administrator(case: Case, claim_id: str, surface: str) -> None:
    door = case.bench.http(surface)
    able = permitted(case, surface, "user-remove")
    if len(able) != 1:
        raise Undecided(f"{len(able)} declared accounts may remove accounts: none is known to be the last")
    last = able[0]
    role = door.accounts[last].role
    other = next(account.role for account in door.accounts.values() if account.role != role)
    case.attack(surface, f"the last {role} is removed")
    before = reads(case, surface, "user-list")
    with acting(case, surface, "user-remove") as session:
        case.expect_refused(f"removing {last}", session.do("user-remove", user=last), claim=claim_id)
        changed = session.do("user-set-role", user=last, role=other)
        case.expect_refused(f"{last} as {other}", changed, claim=claim_id)
        case.twin("its session goes on", door.read_in(session, "uptime"))
    case.unchanged("the accounts", before=before, after=reads(case, surface, "user-list"))
    with case.step("While there is another one"):
        who = add_account(case, surface, role=role)
        for title, action, values in (
            (f"{who.user} as {other}", "user-set-role", {"role": other}),
            (f"{who.user} as {role}", "user-set-role", {"role": role}),
            (f"removing {who.user}", "user-remove", {}),
        ):
            case.twin(title, do(case, surface, action, user=who.user, **values))
    case.unchanged("the accounts", before=before, after=reads(case, surface, "user-list"))


def open_where_the_role_is(case: Case, claim_id: str, surfaces: list[str], who: Newcomer) -> None:
    """The account logs in where declared accounts of its role do, and nowhere else."""
    for name in surfaces:
        door = case.bench.log_in_surface(name)
        outcome = leave(door.try_log_in(who.user, who.password))
        if who.role in {account.role for account in door.accounts.values()}:
            case.expect_accepted(f"{who.role} on {name}", outcome, claim=claim_id)
            swapped = who.password.swapcase()
            if swapped != who.password:
                other = leave(door.try_log_in(who.user, swapped))
                case.expect_refused(f"{who.role} on {name}, password in another case", other, claim=claim_id)
            case.twin(f"{who.role} on {name} again", leave(door.try_log_in(who.user, who.password)))
        else:
            case.expect_refused(f"{who.role} on {name}", outcome, claim=claim_id)


def closed(case: Case, claim_id: str, surfaces: list[str], who: Newcomer, when: str) -> None:
    """The account logs in nowhere."""
    for name in surfaces:
        outcome = leave(case.bench.log_in_surface(name).try_log_in(who.user, who.password))
        case.expect_refused(f"{who.user} on {name} {when}", outcome, claim=claim_id)


def leave(outcome: Outcome[Session]) -> Outcome[Session]:
    """End the session that a log-in opened, if it did."""
    if isinstance(outcome, Accepted):
        outcome.value.log_out()
    return outcome
