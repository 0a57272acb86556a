"""Each role may do what is declared for it on a surface, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from harness.case import Case
from harness.device.dialogue import DialogueSurface
from harness.device.entrance import entrance
from harness.device.outcomes import NoAnswer
from harness.device.values import Value
from harness.rig.claims import PermissionClaim
from harness.rig.device_file import DeviceFile
from harness.rig.device_file import DialogueSurface as DialogueSpec
from harness.rig.rig_file import Effect
from harness.testcase import About, Instance, contributes, each, testcase, verifies


def roles(device: DeviceFile) -> Iterator[Instance]:
    """Every account that may log in on a surface the claim is about."""
    for claim_id, claim in device.claims_of(PermissionClaim).items():
        for surface in claim.surfaces:
            spec = device.surfaces[surface]
            for account in spec.accounts if isinstance(spec, DialogueSpec) else ():
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
    unqualified=True,
)
@each("claim_id, surface, account", roles)
def test_role(case: Case, claim_id: str, surface: str, account: str) -> None:
    device = case.bench.rig.device
    claim = device.claims_of(PermissionClaim)[claim_id]
    door = case.bench.dialogue(surface)
    role = device.accounts[account].role
    allowed = [action for action in door.spec.actions if action in claim.allowed.get(role, ())]
    denied = [action for action in door.spec.actions if action not in allowed]
    shown = {action: door.spec.actions[action].changes for action in denied if door.spec.actions[action].changes}

    case.attack(surface, f"{role} asks for {', '.join(denied)}")
    with case.step("State before"):
        before = fields(case, claim, door, shown.values())
    with case.step(f"{role} is refused what is not declared"):
        session = case.value(door.log_in(account), f"log-in of {account}")
        for action in denied:
            outcome = session.do(action)
            case.expect_refused(f"{role}: {action}", outcome, claim=claim_id)
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
            case.expect_accepted(f"{role}: {action}", session.do(action), claim=claim_id)
        session.log_out()

    for action in denied:
        twin(case, claim, door, action)


def twin(case: Case, claim: PermissionClaim, door: DialogueSurface, action: str) -> None:
    """Have a role that may do it do the same, and see the change where there is one."""
    user = somebody(case, claim, door, action)
    if user is None:
        case.check(f"twin of {action}", held=None, expected="a role that may do it", observed="none declared")
        return
    where, account = user
    with case.step(f"Twin: {account} does {action} on {where.name}"):
        field = where.spec.actions[action].changes
        before = fields(case, claim, where, [field]) if field else {}
        with where.session(account) as session:
            case.twin(f"{account}: {action}", case.value(session, f"log-in of {account}").do(action))
        if field:
            after = fields(case, claim, where, [field])
            # Without a visible change the refusal above would prove nothing about the state.
            case.check(
                f"{action} changes {field}",
                held=after != before or None,
                expected=f"not {before[field]}",
                observed=after[field],
            )


def fields(case: Case, claim: PermissionClaim, door: DialogueSurface, names: Iterable[str]) -> dict[str, Value]:
    """Read fields, each with an account whose role may."""
    values: dict[str, Value] = {}
    readers: dict[tuple[str, str], list[str]] = {}
    for name in dict.fromkeys(names):
        user = somebody(case, claim, door, door.spec.fields[name].action)
        if user is None:
            case.check(f"{name} can be read", held=None, expected="a role that may", observed="none declared")
            continue
        readers.setdefault((user[0].name, user[1]), []).append(name)
    for (where, account), wanted in readers.items():
        surface = case.bench.dialogue(where)
        with surface.session(account) as session:
            inside = case.value(session, f"log-in of {account}")
            values |= {name: case.value(surface.read_in(inside, name), f"read {name}") for name in wanted}
    return values


def somebody(
    case: Case, claim: PermissionClaim, door: DialogueSurface, action: str
) -> tuple[DialogueSurface, str] | None:
    """Return who may carry out an action, on this surface if there is anybody, else on another of the claim."""
    device = case.bench.rig.device
    for name in (door.name, *claim.surfaces):
        where = case.bench.dialogue(name)
        for account in where.accounts:
            if action in where.spec.actions and action in claim.allowed.get(device.accounts[account].role, ()):
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
    door = case.bench.dialogue(surface)
    shown = [action.changes for action in door.spec.actions.values() if action.changes]

    case.attack(surface, "actions at the log-in prompt")
    before = fields(case, claim, door, shown)
    with case.step("Each action at the log-in prompt"), entrance(door) as prompt:
        for action, spec in door.spec.actions.items():
            outcome = prompt.say(spec.send.format(*spec.args), operation=f"{action} before log-in")
            case.expect_refused(f"{action} before log-in", outcome, claim=claim_id)
            if isinstance(outcome, NoAnswer):
                return
    after = fields(case, claim, door, shown)
    for field, value in before.items():
        case.unchanged(f"{field} after the actions before log-in", before=value, after=after[field])
    with case.step("After log-in the same lines work"):
        users = {action: somebody(case, claim, door, action) for action in door.spec.actions}
        for account in door.accounts:
            mine = [action for action, user in users.items() if user and (user[0].name, user[1]) == (surface, account)]
            with door.session(account) as session:
                inside = case.value(session, f"log-in of {account}")
                for action in mine:
                    case.twin(f"{action} by {account} after log-in", inside.do(action))
