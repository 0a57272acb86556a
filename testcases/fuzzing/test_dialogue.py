"""Malformed lines in a dialogue."""

from __future__ import annotations

from collections.abc import Iterable

from harness.case import Case
from harness.device.outcomes import Accepted
from harness.fuzz.campaign import fuzz
from harness.fuzz.models import dialogue_model
from harness.rig.claims import AvailabilityClaim, PermissionClaim
from harness.rig.device_file import DeviceFile, DialogueSurface
from harness.rig.rig_file import Effect
from harness.testcase import About, Instance, contributes, each, testcase, verifies


def dialogues(device: DeviceFile) -> Iterable[Instance]:
    """The log-in surfaces that claim to withstand malformed input."""
    for claim_id, claim in device.claims_of(AvailabilityClaim).items():
        for surface in claim.surfaces:
            if isinstance(device.surfaces[surface], DialogueSurface):
                yield Instance(surface, (claim_id, surface))


@testcase(
    "FUZZ-DIALOGUE",
    title="The device withstands malformed user names, passwords and commands and goes on performing",
    tags=[
        verifies("NMPA-2022/VV-THREAT", "NMPA-2020/IFU-iface", "FDA-VC/VULN-ABUSE", "FDA-A1/G"),
        contributes("ANSM-2019/CRIT-D", "ANSM-2019/SAFE-FIRST"),
    ],
    about=About(property="availability", phase="design", method="fuzz", threat="malformed input at log-in and prompt"),
    effects=[Effect.ACCOUNTS, Effect.CONFIGURATION],
    unqualified=True,
    slow=True,
)
@each("claim_id, surface", dialogues)
def test_dialogue(case: Case, claim_id: str, surface: str, fuzz_cases: int | None) -> None:
    door = case.bench.dialogue(surface)
    permissions = case.bench.rig.device.claims_of(PermissionClaim, surface=surface)
    allowed = {role: names for claim in permissions.values() for role, names in claim.allowed.items()}

    case.attack(surface, "malformed lines at every prompt")
    with case.step("Well-formed lines are understood"):
        for name, account in door.accounts.items():
            with door.session(name) as session:
                case.twin(f"{name} logs in", session)
                reads = [a for a in allowed.get(account.role, ()) if a in door.spec.actions]
                harmless = [a for a in reads if not door.spec.actions[a].effects]
                for action in harmless[:2]:
                    if isinstance(session, Accepted):
                        case.twin(f"{name}: {action}", session.value.do(action))

    model = dialogue_model(door.spec, door.accounts)
    fuzz(case, surface, model, claim=claim_id, cases=fuzz_cases)
