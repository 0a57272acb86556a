"""Each role may do what is declared for it on a surface, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from harness.case import Case
from harness.device.log_in import LogInSurface
from harness.device.outcomes import NoAnswer, Outcome, Refused, name_of
from harness.device.values import Value
from harness.rig.claims import PermissionClaim
from harness.rig.device_file import DeviceFile
from harness.rig.device_file import LogInSurface as LogInSpec
from harness.rig.rig_file import Effect
from harness.testcase import About, Instance, contributes, each, testcase, verifies


def roles(device: DeviceFile) -> Iterator[Instance]:
    """Every account that may log in on a surface the claim is about."""
    for claim_id, claim in device.claims_of(PermissionClaim).items():
        for surface in claim.surfaces:
            spec = device.surfaces[surface]
            for account in spec.accounts if isinstance(spec, LogInSpec) else ():
                yield Instance(f"{surface}-{device.accounts[account].role}", (claim_id, surface, account))


@testcase(
    "AUTHZ-ROLE",
    title="A role can carry out its declared actions on a surface, and is refused every other one",
    tags=[
        verifies("NMPA-2022/AUTH", "NMPA-2020/IFU-access", "FDA-A1/B", "FDA-VC/REQ"),
        contributes("ANSM-2019/CRIT-I", "ANSM-2019/CRIT-C", "MDS2-2019/AUTH"),
    ],
    about=About(property="integrity", phase="design", method="function", threat="a user exceeds his role"),
    effects=[Effect.ACCOUNTS, Effect.CONFIGURATION],
)
@each("claim_id, surface, account", roles)
def test_role(case: Case, claim_id: str, surface: str, account: str) -> None:
    device = case.bench.rig.device
    claim = device.claims_of(PermissionClaim)[claim_id]
    door = case.bench.log_in_surface(surface)
    role = device.accounts[account].role
    light = light_actions(case, door)
    allowed = [action for action in light if action in claim.allowed.get(role, ())]
    denied = [action for action in light if action not in allowed]
    shown = {action: door.actions[action].changes for action in denied if door.actions[action].changes}

    case.attack(surface, f"{role} asks for {', '.join(denied)}")
    with case.step("State before"):
        before = fields(case, claim, door, shown.values())
    with case.step(f"{role} is refused what is not declared"):
        session = case.value(door.log_in(account), f"log-in of {account}")
        for action in denied:
            outcome = session.do(action)
            case.expect_denied(f"{role}: {action}", door, outcome, claim=claim_id)
            if isinstance(outcome, NoAnswer):
                return
        session.log_out()
    with case.step("What was refused has changed nothing"):
        after = fields(case, claim, door, shown.values())
        for field, value in before.items():
            case.unchanged(f"{field} after the refused actions", before=value, after=after[field])

    with case.step(f"{role} may do what is declared"):
        session = case.value(door.log_in(account), f"log-in of {account}")
        for action in allowed:
            outcome = session.do(action)
            if door.actions[action].declined:
                expect_declined(case, claim_id, door, f"{role}: {action}", outcome)
            else:
                case.expect_accepted(f"{role}: {action}", outcome, claim=claim_id)
        session.log_out()

    for action in denied:
        twin(case, claim, door, action)


def light_actions(case: Case, door: LogInSurface) -> list[str]:
    """Return the actions that can be carried out knowing nothing of them, and that the rig permits."""
    permitted = {Effect.ACCOUNTS, Effect.CONFIGURATION, Effect.DATA} & set(case.bench.rig.file.permits)
    return [name for name, action in door.actions.items() if action.ready and set(action.effects) <= permitted]


def expect_declined(case: Case, claim_id: str, door: LogInSurface, title: str, outcome: Outcome[object]) -> None:
    """What a role may do, with arguments that are refused to everybody: not for the role."""
    held = None
    if isinstance(outcome, Refused) and not door.ended(outcome) and door.denied(outcome) is not None:
        held = not door.denied(outcome)
    observed = name_of(outcome)
    case.check(title, held=held, expected="refused, but not for the role", observed=observed, claim=claim_id)


def twin(case: Case, claim: PermissionClaim, door: LogInSurface, action: str) -> None:
    """Have a role that may do it do the same, and see the change where there is one."""
    user = somebody(case, claim, door, action)
    if user is None:
        case.check(f"twin of {action}", held=None, expected="a role that may do it", observed="none declared")
        return
    where, account = user
    with case.step(f"Twin: {account} does {action} on {where.name}"):
        field = where.actions[action].changes
        before = fields(case, claim, where, [field]) if field else {}
        with where.session(account) as session:
            outcome = case.value(session, f"log-in of {account}").do(action)
        if where.actions[action].declined:
            expect_declined(case, "", where, f"{account}: {action}", outcome)
            return
        case.twin(f"{account}: {action}", outcome)
        if field:
            after = fields(case, claim, where, [field])
            # Without a visible change the refusal above would prove nothing about the state.
            case.check(
                f"{action} changes {field}",
                held=after != before or None,
                expected=f"not {before[field]}",
                observed=after[field],
            )


def fields(case: Case, claim: PermissionClaim, door: LogInSurface, names: Iterable[str]) -> dict[str, Value]:
    """Read fields, each with an account whose role may."""
    values: dict[str, Value] = {}
    readers: dict[tuple[str, str], list[str]] = {}
    for name in dict.fromkeys(names):
        user = somebody(case, claim, door, door.fields[name].action)
        if user is None:
            case.check(f"{name} can be read", held=None, expected="a role that may", observed="none declared")
            continue
        readers.setdefault((user[0].name, user[1]), []).append(name)
    for (where, account), wanted in readers.items():
        surface = case.bench.log_in_surface(where)
        with surface.session(account) as session:
            inside = case.value(session, f"log-in of {account}")
            values |= {name: case.value(surface.read_in(inside, name), f"read {name}") for name in wanted}
    return values


def somebody(case: Case, claim: PermissionClaim, door: LogInSurface, action: str) -> tuple[LogInSurface, str] | None:
    """Return who may carry out an action, on this surface if there is anybody, else on another of the claim."""
    device = case.bench.rig.device
    for name in (door.name, *claim.surfaces):
        where = case.bench.log_in_surface(name)
        for account in where.accounts:
            if action in where.actions and action in claim.allowed.get(device.accounts[account].role, ()):
                return where, account
    return None


@testcase(
    "AUTHZ-BEFORE-LOGIN",
    title="Before log-in no action is carried out",
    tags=[
        verifies("NMPA-2022/AUTH", "NMPA-2022/PAUT", "NMPA-2020/IFU-access", "FDA-A1/B"),
        contributes("ANSM-2019/CRIT-I", "ANSM-2019/CRIT-C"),
    ],
    about=About(property="integrity", phase="design", method="penetration", threat="a user without account"),
    effects=[Effect.ACCOUNTS, Effect.CONFIGURATION],
    unqualified=True,
)
@each(
    "claim_id, surface",
    lambda device: [
        Instance(surface, (claim_id, surface))
        for claim_id, claim in device.claims_of(PermissionClaim).items()
        for surface in claim.surfaces
    ],
)
def test_before_log_in(case: Case, claim_id: str, surface: str) -> None:
    claim = case.bench.rig.device.claims_of(PermissionClaim)[claim_id]
    door = case.bench.log_in_surface(surface)
    light = light_actions(case, door)
    shown = [door.actions[action].changes for action in light if door.actions[action].changes]

    case.attack(surface, "actions before log-in")
    before = fields(case, claim, door, shown)
    with case.step("Each action before log-in"), door.entrance() as prompt:
        closed = [action for action in light if not door.actions[action].open]
        case.check("actions that need a log-in", held=bool(closed) or None, expected="some", observed=len(closed))
        for action in light:
            outcome = prompt.do(action)
            if action not in closed:
                case.twin(f"{action} before log-in, open to anybody", outcome)
            elif isinstance(outcome, Refused) and door.ended(outcome) is False:
                observed = name_of(outcome)
                expected = "refused for want of a log-in"
                case.check(f"{action} before log-in", held=False, expected=expected, observed=observed, claim=claim_id)
            else:
                case.expect_refused(f"{action} before log-in", outcome, claim=claim_id)
            if isinstance(outcome, NoAnswer):
                return
    after = fields(case, claim, door, shown)
    for field, value in before.items():
        case.unchanged(f"{field} after the actions before log-in", before=value, after=after[field])
    with case.step("After log-in the same works"):
        users = {action: somebody(case, claim, door, action) for action in light}
        for account in door.accounts:
            mine = [action for action, user in users.items() if user and (user[0].name, user[1]) == (surface, account)]
            with door.session(account) as session:
                inside = case.value(session, f"log-in of {account}")
                for action in mine:
                    title, outcome = f"{action} by {account} after log-in", inside.do(action)
                    if door.actions[action].declined:
                        expect_declined(case, "", door, title, outcome)
                    else:
                        case.twin(title, outcome)
