"""Diagnostic services and data identifiers: all that is declared, and nothing else."""

from __future__ import annotations

import random

from harness.case import Case
from harness.procedures.scanning import readable_identifiers, uds_services
from harness.rig.claims import UdsServicesClaim
from harness.testcase import About, contributes, each_surface, testcase, verifies

SWEPT = (range(0x0000, 0x0300), range(0xF180, 0xF200))
"""Where makers put identifiers, and where ISO 14229-1 annex C puts those of identification."""
RANDOM = 500
SEED = 20261122
"""The random identifiers are the same in every run."""

TAGS = [
    verifies("NMPA-2022/SAHD", "NMPA-2022/IF-EDX", "NMPA-2020/IFU-iface", "FDA-VC/VULN-SURF"),
    contributes("ANSM-2019/RISK-OBSC", "ANSM-2019/CRIT-C", "NMPA-2022/RPT-2.3"),
]


@testcase(
    "UDS-SERVICES",
    title="The diagnostic services of each session are the declared ones, all of them and no others",
    tags=TAGS,
    about=About(property="integrity", phase="design", method="scan", threat="undeclared diagnostic service"),
    unqualified=True,
)
@each_surface(UdsServicesClaim)
def test_services(case: Case, claim_id: str, surface: str) -> None:
    claim = case.bench.rig.device.claims_of(UdsServicesClaim)[claim_id]
    door = case.bench.uds(surface)
    case.attack(surface, "every service identifier in every session")
    for session, declared in claim.services.items():
        with case.step(f"Session {session}"):
            case.value(door.enter(session), f"session {session}")
            present = uds_services(case, door)
            case.check(
                f"services in session {session}",
                held=present == set(declared),
                expected=_hexadecimal(set(declared)),
                observed=_hexadecimal(present),
                claim=claim_id,
            )
    case.value(door.enter(next(iter(claim.services))), "back in the first session")


@testcase(
    "UDS-IDENTIFIERS",
    title="The data identifiers that can be read are the declared ones, all of them and no others",
    tags=TAGS,
    about=About(property="confidentiality", phase="design", method="scan", threat="undeclared diagnostic data"),
    unqualified=True,
)
@each_surface(UdsServicesClaim)
def test_identifiers(case: Case, claim_id: str, surface: str) -> None:
    claim = case.bench.rig.device.claims_of(UdsServicesClaim)[claim_id]
    door = case.bench.uds(surface)
    swept = {identifier for part in SWEPT for identifier in part}
    swept |= set(random.Random(SEED).sample(range(0x10000), RANDOM)) | set(claim.identifiers)

    case.attack(surface, f"reading {len(swept)} data identifiers")
    with case.step("The declared identifiers"):
        for identifier in claim.identifiers:
            case.expect_accepted(f"read 0x{identifier:04X}", door.read_identifier(identifier), claim=claim_id)
    for session in claim.services:
        with case.step(f"{len(swept)} identifiers in session {session}"):
            case.value(door.enter(session), f"session {session}")
            readable = readable_identifiers(case, door, swept)
            case.check(
                f"identifiers in session {session}",
                held=readable == set(claim.identifiers),
                expected=_hexadecimal(set(claim.identifiers)),
                observed=_hexadecimal(readable),
                claim=claim_id,
            )


def _hexadecimal(numbers: set[int]) -> list[str]:
    return [f"0x{number:02X}" for number in sorted(numbers)]
