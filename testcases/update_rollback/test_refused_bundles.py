"""What is not newer software of the maker for this device is refused, whatever it is called and whoever brings it."""

from __future__ import annotations

from collections.abc import Iterable

from harness.case import Case
from harness.device.outcomes import Accepted
from harness.instances import update_bundles
from harness.procedures.kept import Kept
from harness.procedures.updating import Updating
from harness.rig.bundles import Bundle, load_bundles, newest_update
from harness.rig.claims import UpdateClaim
from harness.rig.device_file import DeviceFile, LogInSurface
from harness.rig.rig_file import Effect
from harness.testcase import About, Instance, contributes, each, each_on_rig, testcase, verifies
from harness.watch import IncidentKind

EFFECTS = [Effect.FIRMWARE, Effect.ACCOUNTS, Effect.CONFIGURATION, Effect.DATA]
TAGS = [
    verifies("NMPA-2022/CSUP", "FDA-A1/H", "FDA-A1/D"),
    contributes("ANSM-2019/CRIT-I", "FDA-VC/THREAT", "MDS2-2019/CSUP"),
]


def other_roles(device: DeviceFile) -> Iterable[Instance]:
    """An account of each role that may not update."""
    for claim_id, claim in device.claims_of(UpdateClaim).items():
        spec = device.surfaces[claim.surface]
        roles: dict[str, str] = {}
        for account in spec.accounts if isinstance(spec, LogInSurface) else ():
            roles.setdefault(device.accounts[account].role, account)
        for role, account in roles.items():
            if role not in claim.roles:
                yield Instance(role, (claim_id, account))


def fetched(device: DeviceFile) -> Iterable[Instance]:
    """Claims about updates that the device fetches."""
    for claim_id, claim in device.claims_of(UpdateClaim).items():
        if "url" in claim.ways:
            yield Instance(claim.surface, (claim_id,))


@testcase(
    "UPDATE-REFUSED",
    title="Unsigned, foreign, altered, older, equal and misdirected updates are refused, and the good one is taken",
    tags=TAGS,
    about=About(property="integrity", phase="monitoring", method="penetration", threat="tampered update"),
    effects=EFFECTS,
    slow=True,
    severity="blocker",
)
@each_on_rig("claim_id, bundle", update_bundles("refused"))
def test_refused(case: Case, claim_id: str, bundle: str) -> None:
    bad = load_bundles(case.bench.rig)[bundle]
    refuse(case, claim_id, bad, name="")


@testcase(
    "UPDATE-RENAMED",
    title="An update that is not newer is refused though its file name says it is",
    tags=TAGS,
    about=About(property="integrity", phase="monitoring", method="penetration", threat="downgrade to a known hole"),
    effects=EFFECTS,
    slow=True,
    severity="blocker",
)
@each_on_rig("claim_id, bundle", update_bundles("refused", why=["version"], named=True))
def test_renamed(case: Case, claim_id: str, bundle: str) -> None:
    bad = load_bundles(case.bench.rig)[bundle]
    refuse(case, claim_id, bad, name=f"update-{newest_update(case.bench.rig).version}{bad.path.suffix}")


@testcase(
    "UPDATE-ROLE",
    title="Who may not update is refused, by every way and whatever the update is",
    tags=[
        verifies("NMPA-2022/CSUP", "NMPA-2022/AUTH", "FDA-A1/B", "FDA-A1/H"),
        contributes("ANSM-2019/CRIT-I", "MDS2-2019/CSUP"),
    ],
    about=About(property="integrity", phase="monitoring", method="penetration", threat="a user exceeds his role"),
    effects=[Effect.FIRMWARE],
    slow=True,
)
@each("claim_id, account", other_roles)
def test_role(case: Case, claim_id: str, account: str) -> None:
    updating, good = Updating(case, claim_id), newest_update(case.bench.rig)
    door, data = updating.door, good.read()
    case.attack(updating.claim.surface, f"updates by {account}")
    before = updating.now()
    session = case.value(door.log_in(account), f"log-in of {account}")
    taken = False
    if "upload" in updating.claim.ways:
        told = {"name": good.path.name} if updating.names_bundles else {}
        outcome = session.do("update-upload", octets=data, **told)
        taken |= isinstance(outcome, Accepted)
        case.expect_denied(f"{account} uploads a good update", door, outcome, claim=claim_id)
    if "url" in updating.claim.ways and not taken:
        with updating.served(data, name=good.path.name) as (server, url):
            outcome = session.do("update-url", url=url)
            taken |= isinstance(outcome, Accepted)
            case.expect_denied(f"{account} gives the address of a good update", door, outcome, claim=claim_id)
            fetched = [each.path for each in server.requests]
            case.check(
                "the device fetches nothing", held=not fetched, expected="no request", observed=fetched, claim=claim_id
            )
    session.log_out()
    if not taken:
        unchanged(case, updating, before)
        updating.twin("the same update by who may", updating.install(good, way=updating.claim.ways[0]), good)
    updating.close()


@testcase(
    "UPDATE-SOURCE",
    title="An update is not fetched from another address than the claimed one",
    tags=TAGS,
    about=About(property="integrity", phase="monitoring", method="penetration", threat="update from anywhere"),
    effects=[Effect.FIRMWARE],
    unqualified=True,
    slow=True,
)
@each("claim_id", fetched)
def test_source(case: Case, claim_id: str) -> None:
    updating, good = Updating(case, claim_id), newest_update(case.bench.rig)
    action = updating.door.actions.get("update-url")
    case.attack(updating.claim.surface, "an update from a foreign address")
    before = updating.now()
    outcome = updating.do("update-url")
    declared = action is not None and action.declined
    case.check("the foreign address is declared", held=declared or None, expected="declined: true", observed=declared)
    case.expect_refused("an update from a foreign address", outcome, claim=claim_id)
    if isinstance(outcome, Accepted):
        return
    unchanged(case, updating, before)
    updating.twin("the good update from the bench's address", updating.install(good, way="url"), good)
    updating.close()


def refuse(case: Case, claim_id: str, bad: Bundle, *, name: str) -> None:
    """Give the device a bad bundle, then the good one in the same way."""
    updating, good = Updating(case, claim_id), newest_update(case.bench.rig)
    kept = Kept(case, updating.claim.surface, updating.claim.keeps)
    case.attack(updating.claim.surface, f"the update {bad.name}" + (f" named {name}" if name else ""))
    with case.step("State before"):
        kept.change()
        values, records, before = kept.read(), kept.records(), updating.now()
    with case.step(f"The bad update {bad.name}"):
        ended = updating.install(bad, way=updating.claim.ways[0], name=name)
        updating.expect_refused(f"the update {bad.name} is refused", ended, why=bad.detail)
        if ended.state == "ready":
            return
        if isinstance(ended.answer, Accepted):
            updating.expect_shown(["refused"])
        unchanged(case, updating, before)
        kept.expect("after the refused update", before=values, records=records, claim="BASE-UNCHANGED")
    limit, installed = updating.within["restart"], case.bench.rig.device.version
    with case.step("What was refused is not started"), case.expecting(IncidentKind.RESTART, within=limit):
        updating.restart(installed, within=limit)
    with case.step("The good one"):
        ended = updating.install(good, way=updating.claim.ways[0], name=name)
        updating.twin("the good update is taken", ended, good)
    updating.close()


def unchanged(case: Case, updating: Updating, before: object) -> None:
    """The version that runs is the one of before, by what is told of the update and by the identity."""
    version = getattr(before, "version", before)
    case.unchanged("the running version", before=version, after=updating.now().version)
    identity = case.bench.rig.device.identity
    read = case.value(case.bench.surface(identity).read("version"), f"version on {identity}")
    case.unchanged(f"the version on {identity}", before=version, after=read)
