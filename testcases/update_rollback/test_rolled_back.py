"""Software that does not start, or fails its own test, gives way to the version before, and takes nothing with it."""

from __future__ import annotations

from harness.case import Case
from harness.instances import update_bundles
from harness.procedures.kept import Kept
from harness.procedures.updating import Updating
from harness.rig.bundles import load_bundles, newest_update
from harness.rig.rig_file import Effect
from harness.testcase import About, contributes, each_on_rig, testcase, verifies
from harness.watch import IncidentKind


@testcase(
    "UPDATE-ROLLED-BACK",
    title="A version that does not work is rolled back in the claimed time, with the users and settings of the restart",
    tags=[
        verifies("NMPA-2022/CSUP", "FDA-A1/H", "FDA-A1/G"),
        contributes("ANSM-2019/SAFE-FIRST", "ANSM-2019/CRIT-I", "MDS2-2019/CSUP"),
    ],
    about=About(property="availability", phase="monitoring", method="function", threat="an update that does not work"),
    effects=[Effect.FIRMWARE, Effect.ACCOUNTS, Effect.CONFIGURATION, Effect.DATA],
    slow=True,
    severity="blocker",
)
@each_on_rig("claim_id, bundle", update_bundles("rolled-back"))
def test_rolled_back(case: Case, claim_id: str, bundle: str) -> None:
    updating = Updating(case, claim_id)
    bad, good = load_bundles(case.bench.rig)[bundle], newest_update(case.bench.rig)
    installed = case.bench.rig.device.version
    kept = Kept(case, updating.claim.surface, updating.claim.keeps)
    limit = updating.within["rollback"]

    case.attack(updating.claim.surface, f"the update {bad.name}")
    with case.step("Up to the restart"):
        ended = updating.install(bad, way=updating.claim.ways[0])
        updating.twin("the update is taken: it is the maker's", ended, bad)
        if ended.state != "ready":
            return
    with case.step("Change what must be kept after the update was written"):
        kept.change()
        before, records = kept.read(), kept.records()
    with case.step("Restart"), case.expecting(IncidentKind.RESTART, within=limit):
        took = updating.restart(installed, bad.version, within=limit, away={bad.version})
        ended_in = updating.await_state({"failed", "idle"}, within=updating.within["trying"])
        back = ended_in is not None and ended_in.version == installed
        # Idle with the version before is also a device that never started the new one.
        tried = (ended_in is not None and ended_in.state == "failed") or "trying" in (*updating.seen, *updating.shown())
        case.check(
            "the version before is back after a trial",
            held=back and (tried or None),
            expected=f"version {installed}, failed or shown as trying", observed=ended_in or "no end", claim=claim_id,
        )  # fmt: skip
        case.timing("time of the roll-back", measured=took, low=0, high=limit, uncertainty=1.0, claim=claim_id)
        if ended_in is None or ended_in.version != installed:
            return
    with case.step("What must be kept"):
        kept.expect("after the roll-back", before=before, records=records, claim=claim_id)
    with case.step("A later update"):
        updating.twin("a good update is taken", updating.install(good, way=updating.claim.ways[0]), good)
    updating.close()
