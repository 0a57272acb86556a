"""A good update is taken by every declared way, keeps what it must, and disturbs nothing but by its restart."""

from __future__ import annotations

from collections.abc import Iterable

from harness.case import Case
from harness.procedures.updating import Updating, Way
from harness.procedures.whole_update import update_whole
from harness.rig.bundles import newest_update
from harness.rig.claims import UpdateClaim
from harness.rig.device_file import DeviceFile
from harness.rig.rig_file import Effect
from harness.testcase import About, Instance, contributes, each, testcase, verifies

EFFECTS = [Effect.FIRMWARE, Effect.ACCOUNTS, Effect.CONFIGURATION, Effect.DATA]


def ways(device: DeviceFile) -> Iterable[Instance]:
    """Each declared way to give the device an update."""
    for claim_id, claim in device.claims_of(UpdateClaim).items():
        for way in claim.ways:
            yield Instance(f"{claim.surface}-{way}", (claim_id, way))


@testcase(
    "UPDATE-GOOD",
    title="A good update is taken, changes the version everywhere, keeps settings, users and patients; therapy goes on",
    tags=[
        verifies("NMPA-2022/CSUP", "NMPA-2022/VER-RULE", "NMPA-2020/T3-ver", "FDA-A1/H"),
        contributes("ANSM-2019/SAFE-FIRST", "MDS2-2019/CSUP", "NMPA-2020/IFU-upd"),
    ],
    about=About(property="availability", phase="monitoring", method="function", threat="an update harms the device"),
    effects=EFFECTS,
    slow=True,
    severity="blocker",
)
@each("claim_id, way", ways)
def test_good_update(case: Case, claim_id: str, way: Way) -> None:
    updating = Updating(case, claim_id)
    update_whole(case, updating, newest_update(case.bench.rig), way=way)
    updating.close()
