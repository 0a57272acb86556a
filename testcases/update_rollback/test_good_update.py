"""A good update is taken by every declared way, keeps what it must, and disturbs nothing but by its restart."""

from __future__ import annotations

import re
from collections.abc import Iterable

from harness.case import Case
from harness.errors import UsageError
from harness.instances import updates
from harness.links.network import PortState, scan_tcp
from harness.procedures.kept import Kept
from harness.procedures.updating import DURING, Updating, Way
from harness.rig.bundles import Bundle, load_bundles
from harness.rig.claims import PortsClaim, UpdateClaim, VersionClaim
from harness.rig.device_file import DeviceFile
from harness.rig.rig_file import Effect
from harness.testcase import About, Instance, contributes, each, testcase, verifies
from harness.watch import IncidentKind

EFFECTS = [Effect.FIRMWARE, Effect.ACCOUNTS, Effect.CONFIGURATION, Effect.DATA]
ALL_PORTS = range(1, 65536)


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
    bundle = max(accepted(case), key=numbers)
    update_whole(case, updating, bundle, way=way)
    updating.close()


@testcase(
    "UPDATE-PATCH",
    title="A patch raises the last part of the version only, and opens and closes no port",
    tags=[
        verifies("NMPA-2022/CSUP", "NMPA-2022/VER-RULE", "FDA-A1/H"),
        contributes("NMPA-2022/UPD-CLASS", "NMPA-2020/T3-type", "ANSM-2019/SAFE-FIRST"),
    ],
    about=About(property="integrity", phase="monitoring", method="function", threat="a patch that changes functions"),
    effects=EFFECTS,
    slow=True,
)
@each("claim_id", updates)
def test_patch(case: Case, claim_id: str) -> None:
    updating = Updating(case, claim_id)
    installed = case.bench.rig.device.version
    patches = [bundle for bundle in accepted(case) if numbers(bundle)[:-1] == parts(installed)[:-1]]
    if not patches:
        raise UsageError(
            "no bundle of the rig is a patch", where=str(case.bench.rig.path),
            hint=f"add an accepted one whose version differs from {installed} in the last part only",
        )  # fmt: skip
    with case.step("Open ports before"):
        before = open_ports(case)
        claims = list(case.bench.rig.device.claims_of(PortsClaim))
        case.check("ports are claimed and seen", held=(bool(before) and list(before) == claims) or None,
                   expected=claims or "a claim", observed=before)  # fmt: skip
    update_whole(case, updating, min(patches, key=numbers), way=updating.claim.ways[0])
    updating.close()
    with case.step("Open ports after"):
        after = open_ports(case)
    for port_claim, ports in before.items():
        case.unchanged(f"open TCP ports ({port_claim})", before=ports, after=after[port_claim], claim=port_claim)


def update_whole(case: Case, updating: Updating, bundle: Bundle, *, way: Way) -> None:
    """Update by one way, restart, and look at everything the claim says."""
    claim, device = updating.claim, case.bench.rig.device
    kept = Kept(case, claim.surface, claim.keeps)
    case.attack(claim.surface, f"an update to {bundle.version} by {way}")
    with case.step("Change what must be kept"):
        kept.change()
        before, records = kept.read(), kept.records()
        start = updating.now()
        case.check("no update is under way", held=start.state == "idle" or None, expected="idle", observed=start)
    with case.step(f"Up to the restart, by {way}"):
        ended = updating.install(bundle, way=way)
        if not updating.expect_ready("a good update is taken", ended, bundle):
            return
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


def versions_everywhere(case: Case, version: str) -> None:
    """Every surface that claims to show the version shows this one."""
    for claim_id, claim in case.bench.rig.device.claims_of(VersionClaim).items():
        for surface in claim.surfaces:
            seen = case.value(case.bench.surface(surface).read("version"), f"version on {surface}")
            held = seen == version and re.fullmatch(claim.pattern, version) is not None
            case.check(
                f"the version on {surface} after the update", held=held, expected=version, observed=seen, claim=claim_id
            )


def open_ports(case: Case) -> dict[str, list[int]]:
    """Return the open TCP ports by claim about ports."""
    wiring = case.bench.wiring
    seen = {}
    for claim_id, claim in case.bench.rig.device.claims_of(PortsClaim).items():
        host = wiring.network(claim.link).ipv4
        if host is not None:
            states = scan_tcp(wiring.dialer, host, ALL_PORTS, timeout=wiring.answer_within)
            seen[claim_id] = sorted(port for port, state in states.items() if state is PortState.OPEN)
    return seen


def accepted(case: Case) -> list[Bundle]:
    """Return the good bundles of the rig."""
    return [bundle for bundle in load_bundles(case.bench.rig).values() if bundle.expect == "accepted"]


def numbers(bundle: Bundle) -> tuple[int, ...]:
    """Return the parts of a bundle's version."""
    return parts(bundle.version)


def parts(version: str) -> tuple[int, ...]:
    """Return the numbers in a version, in order."""
    return tuple(int(number) for number in re.findall(r"\d+", version))
