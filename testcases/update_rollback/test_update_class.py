"""What an update changes on the interfaces of the device is what it is declared to change, and what its class may."""

from __future__ import annotations

from collections.abc import Iterable

from harness.case import Case
from harness.errors import UsageError
from harness.procedures.inventory import Inventory, changed, take_inventory
from harness.procedures.kept import Kept
from harness.procedures.updating import Updating
from harness.procedures.whole_update import update_whole
from harness.rig.bundles import Bundle, load_bundles
from harness.rig.claims import UpdateClaim, UpdateClass
from harness.rig.device_file import DeviceFile
from harness.rig.rig_file import Effect
from harness.testcase import About, Instance, contributes, each, testcase, verifies


def classes(device: DeviceFile) -> Iterable[Instance]:
    """Each class of updates of each claim; one that says so when it is run where a claim names none."""
    for claim_id, claim in device.claims_of(UpdateClaim).items():
        for name in claim.classes:
            yield Instance(f"{claim.surface}-{name}", (claim_id, name))
        if not claim.classes:
            yield Instance(f"{claim.surface}-no-classes", (claim_id, ""))


@testcase(
    "UPDATE-CLASS",
    title="An update changes ports, services, actions and keys as it is declared to, and as its class may",
    tags=[
        verifies("NMPA-2022/CSUP", "NMPA-2022/VER-RULE", "FDA-A1/H"),
        contributes("NMPA-2022/UPD-CLASS", "NMPA-2020/T3-type", "ANSM-2019/SAFE-FIRST"),
    ],
    about=About(property="integrity", phase="monitoring", method="function", threat="an update that opens a way in"),
    effects=[Effect.FIRMWARE, Effect.ACCOUNTS, Effect.CONFIGURATION, Effect.DATA],
    slow=True,
)
@each("claim_id, update_class", classes)
def test_class(case: Case, claim_id: str, update_class: UpdateClass) -> None:
    updating = Updating(case, claim_id)
    bundle = bundle_of(case, updating.claim, update_class)
    kept = Kept(case, updating.claim.surface, updating.claim.keeps)
    with case.step("Change what must be kept"):
        kept.change()  # an action may be refused for want of what it asks for: it is there now, before and after
    with case.step("What the interfaces offer before"):
        before = take_inventory(case)
        found = sorted(area for area, items in before.items() if items)
        case.check("something is offered", held=bool(found) or None, expected="areas with items", observed=found)
    installed = updating.now().version
    if not update_whole(case, updating, bundle, way=updating.claim.ways[0], changed=kept):
        return
    with case.step("The version"):
        version = updating.now().version
        seen = updating.claim.class_of(installed, version)
        case.check(
            "the first part of the version that has changed", held=seen == update_class, expected=update_class,
            observed=f"{seen or 'none'}: {installed} → {version}", claim=claim_id,
        )  # fmt: skip
    updating.close()
    with case.step("What the interfaces offer after"):
        after = take_inventory(case)
        expect_class(case, updating, update_class, before, after)
        expect_declared(case, updating, bundle, before, after)


def bundle_of(case: Case, claim: UpdateClaim, update_class: UpdateClass) -> Bundle:
    """Return the rig's good update of a class: as its index declares, else as the versions say.

    Raises:
        UsageError: the claim names no classes, or the rig has no such bundle.
    """
    if not claim.classes:
        raise UsageError(
            "the claim about updates says nothing of their classes", where=str(case.bench.rig.device_path),
            hint="add version_rule and classes to it",
        )  # fmt: skip
    installed = case.bench.rig.device.version
    for bundle in load_bundles(case.bench.rig).values():
        named = bundle.update_class or claim.class_of(installed, bundle.version)
        if bundle.expect == "accepted" and named == update_class:
            return bundle
    raise UsageError(
        f"no bundle of the rig is a {update_class} update of {installed}", where=str(case.bench.rig.path),
        hint=f"add an accepted one whose index says class: {update_class}, and its changes",
    )  # fmt: skip


def expect_class(
    case: Case, updating: Updating, update_class: UpdateClass, before: Inventory, after: Inventory
) -> None:
    """The update did nothing that its class may not."""
    may = updating.claim.classes[update_class]
    for change, old, new in (("adds", before, after), ("removes", after, before)):
        found = [f"{item} of {area}" for area in sorted(new) for item in sorted(new[area] - old.get(area, frozenset()))]
        if change not in may:
            case.check(f"a {update_class} update {change} nothing", held=not found, expected="nothing",
                       observed=", ".join(found) or "nothing", claim=updating.id)  # fmt: skip


def expect_declared(case: Case, updating: Updating, bundle: Bundle, before: Inventory, after: Inventory) -> None:
    """Each area offers what it did before, changed as the bundle declares."""
    for area, items in changed(before, bundle.changes).items():
        now = after.get(area, frozenset())
        case.check(
            f"{area} after the update", held=now == items, expected=", ".join(sorted(items)) or "nothing",
            observed=", ".join(sorted(now)) or "nothing", claim=updating.id,
        )  # fmt: skip
