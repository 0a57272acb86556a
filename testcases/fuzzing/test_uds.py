"""Malformed diagnostic requests."""

from __future__ import annotations

from collections.abc import Iterable

from harness.case import Case
from harness.fuzz.campaign import fuzz
from harness.fuzz.models import uds_model
from harness.rig.claims import AvailabilityClaim, UdsServicesClaim
from harness.rig.device_file import DeviceFile, UdsSurface
from harness.rig.rig_file import Effect
from harness.testcase import About, Instance, contributes, each, testcase, verifies


def uds_surfaces(device: DeviceFile) -> Iterable[Instance]:
    """The diagnostic surfaces that claim to withstand malformed input."""
    for claim_id, claim in device.claims_of(AvailabilityClaim).items():
        for surface in claim.surfaces:
            spec = device.surfaces[surface]
            if isinstance(spec, UdsSurface) and device.claims_of(UdsServicesClaim, surface=surface):
                yield Instance(surface, (claim_id, surface))


@testcase(
    "FUZZ-UDS",
    title="The device withstands malformed diagnostic requests and goes on performing",
    tags=[
        verifies("NMPA-2022/VV-THREAT", "NMPA-2022/RMAINT", "NMPA-2020/IFU-iface", "FDA-VC/VULN-ABUSE", "FDA-A1/G"),
        contributes("ANSM-2019/CRIT-D", "ANSM-2019/SAFE-FIRST"),
    ],
    about=About(property="availability", phase="design", method="fuzz", threat="malformed diagnostic requests"),
    effects=[Effect.CONFIGURATION],
    slow=True,
)
@each("claim_id, surface", uds_surfaces)
def test_uds(case: Case, claim_id: str, surface: str, fuzz_cases: int | None) -> None:
    server = case.bench.uds(surface)
    (claim,) = case.bench.rig.device.claims_of(UdsServicesClaim, surface=surface).values()

    case.attack(surface, "malformed requests made from the declared services")
    with case.step("Well-formed requests are understood"):
        for name in server.spec.identifiers:
            case.twin(f"read {name}", server.read(name))
        for session in server.spec.sessions:
            case.twin(f"enter the session {session}", server.enter(session))

    fuzz(case, surface, uds_model(server.spec, claim), claim=claim_id, cases=fuzz_cases)
