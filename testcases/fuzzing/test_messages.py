"""Malformed messages of a vendor's own protocol."""

from __future__ import annotations

from collections.abc import Iterable

from harness.case import Case
from harness.device.outcomes import Accepted
from harness.fuzz.campaign import fuzz
from harness.fuzz.models import message_model
from harness.rig.claims import AvailabilityClaim, PermissionClaim
from harness.rig.device_file import DeviceFile, MessageSurface
from harness.rig.rig_file import Effect
from harness.testcase import About, Instance, contributes, each, testcase, verifies


def message_surfaces(device: DeviceFile) -> Iterable[Instance]:
    """The surfaces of messages that claim to withstand malformed input."""
    for claim_id, claim in device.claims_of(AvailabilityClaim).items():
        for surface in claim.surfaces:
            if isinstance(device.surfaces[surface], MessageSurface):
                yield Instance(surface, (claim_id, surface))


@testcase(
    "FUZZ-MESSAGES",
    title="The device withstands malformed messages before log-in and in a session and goes on performing",
    tags=[
        verifies("NMPA-2022/VV-THREAT", "NMPA-2022/IF-EDX", "NMPA-2020/IFU-iface", "FDA-VC/VULN-ABUSE", "FDA-A1/G"),
        contributes("NMPA-2022/RPT-2.3-PRIV", "ANSM-2019/CRIT-D", "ANSM-2019/SAFE-FIRST"),
    ],
    about=About(property="availability", phase="design", method="fuzz", threat="malformed messages"),
    effects=[Effect.ACCOUNTS, Effect.CONFIGURATION],
    slow=True,
)
@each("claim_id, surface", message_surfaces)
def test_messages(case: Case, claim_id: str, surface: str, fuzz_cases: int | None) -> None:
    door = case.bench.messages(surface)
    permissions = case.bench.rig.device.claims_of(PermissionClaim, surface=surface)
    allowed = {role: names for claim in permissions.values() for role, names in claim.allowed.items()}

    case.attack(surface, "malformed texts in whole messages")
    with case.step("Well-formed messages are understood"):
        for name, account in door.accounts.items():
            with door.session(name) as session:
                case.twin(f"{name} logs in", session)
                reads = [a for a in allowed.get(account.role, ()) if a in door.actions and not door.actions[a].effects]
                for action in reads[:2]:
                    if isinstance(session, Accepted):
                        case.twin(f"{name}: {action}", session.value.do(action))

    fuzz(case, surface, message_model(door.spec, door.accounts), claim=claim_id, cases=fuzz_cases)
