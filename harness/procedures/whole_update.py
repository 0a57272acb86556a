"""A good update from its transfer to the end of its trial, with all that the claim about updates says of it."""

from __future__ import annotations

import re

from harness.case import Case
from harness.procedures.kept import Kept
from harness.procedures.updating import DURING, Updating, Way
from harness.rig.bundles import Bundle
from harness.rig.claims import VersionClaim
from harness.watch import IncidentKind

__all__ = ["update_whole", "versions_everywhere"]


def update_whole(case: Case, updating: Updating, bundle: Bundle, *, way: Way, changed: Kept | None = None) -> bool:
    """Update by one way, restart, and look at everything that the claim says. Returns whether the update was taken.

    `changed` is what must be kept, where that was changed already.

    Raises:
        Undecided: something of it cannot be had.
    """
    claim, device = updating.claim, case.bench.rig.device
    kept = changed or Kept(case, claim.surface, claim.keeps)
    case.attack(claim.surface, f"an update to {bundle.version} by {way}")
    with case.step("Change what must be kept"):
        if changed is None:
            kept.change()
        before, records = kept.read(), kept.records()
        start = updating.now()
        case.check("no update is under way", held=start.state == "idle" or None, expected="idle", observed=start)
    with case.step(f"Up to the restart, by {way}"):
        ended = updating.install(bundle, way=way)
        if not updating.expect_ready("a good update is taken", ended, bundle):
            return False
        updating.expect_shown([*DURING, "ready"])
        version = updating.now().version
        case.unchanged("the version before the restart", before=device.version, after=version, claim=updating.id)
    with (
        case.step("Restart into the new version"),
        case.expecting(IncidentKind.RESTART, within=updating.within["restart"]),
    ):
        took = updating.restart(device.version, bundle.version, within=2 * updating.within["restart"])
        high = updating.within["restart"]
        case.timing("time of the restart", measured=took, low=0, high=high, uncertainty=0.5, claim=updating.id)
        tried = updating.await_state({"idle", "failed"}, within=updating.within["trying"])
        case.check(
            "the new version passes its trial",
            held=tried is not None and tried.state == "idle" and tried.version == bundle.version,
            expected=f"idle, version {bundle.version}", observed=tried or "still on trial", claim=updating.id,
        )  # fmt: skip
        updating.expect_shown([*DURING, "ready", "trying", "idle"])
    with case.step("The new version on every surface"):
        versions_everywhere(case, bundle.version)
    with case.step("What must be kept"):
        kept.expect("after the update", before=before, records=records, claim=updating.id)
    return True


def versions_everywhere(case: Case, version: str) -> None:
    """Every surface that claims to show the version shows this one."""
    for claim_id, claim in case.bench.rig.device.claims_of(VersionClaim).items():
        for surface in claim.surfaces:
            seen = case.value(case.bench.surface(surface).read("version"), f"version on {surface}")
            held = seen == version and re.fullmatch(claim.pattern, version) is not None
            case.check(
                f"the version on {surface} after the update", held=held, expected=version, observed=seen, claim=claim_id
            )
