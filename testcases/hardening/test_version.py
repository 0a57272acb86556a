"""One version, named by the rule, on every surface."""

from __future__ import annotations

import re

from harness.case import Case
from harness.rig.claims import VersionClaim
from harness.testcase import About, Instance, contributes, each, testcase, verifies


@testcase(
    "VERSION-ONE",
    title="Every surface shows the same full version, named by the declared rule",
    tags=[
        verifies("NMPA-2022/VER-RULE", "NMPA-2020/T3-ver", "FDA-A1/H"),
        contributes("NMPA-2022/CNFS", "ANSM-2019/CRIT-A"),
    ],
    about=About(property="auditability", phase="monitoring", method="function", threat="an unknown software state"),
    severity="normal",
)
@each("claim_id", lambda device: [Instance(claim_id, (claim_id,)) for claim_id in device.claims_of(VersionClaim)])
def test_one_version(case: Case, claim_id: str) -> None:
    device = case.bench.rig.device
    claim = device.claims_of(VersionClaim)[claim_id]

    for surface in claim.surfaces:
        # Not attacked, but proven to answer afresh before and after.
        case.attack(surface, "the version is read")
        version = case.value(case.bench.surface(surface).read("version"), f"version on {surface}")
        case.check(
            f"the version on {surface} follows the naming rule",
            held=re.fullmatch(claim.pattern, str(version)) is not None,
            expected=claim.pattern,
            observed=version,
            claim=claim_id,
        )
        case.check(
            f"the version on {surface} is the declared one",
            held=version == device.version,
            expected=device.version,
            observed=version,
            claim=claim_id,
        )
