"""Where testcases apply: sources of instances for `harness.testcase.each` that more than one testcase needs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Literal

from harness.rig.bundles import Expected, load_bundles
from harness.rig.claims import ModbusMapClaim, UpdateClaim
from harness.rig.device_file import DeviceFile, HttpSurface, LogInSurface, ModbusSurface
from harness.rig.loading import Rig
from harness.testcase import Instance

__all__ = ["modbus_maps", "parted_updates", "partable", "update_bundles", "updates"]


def modbus_maps(
    *, framing: Literal["tcp", "rtu"] | None = None, access: Literal["read", "read-write", "protected"] | None = None
) -> Callable[[DeviceFile], Iterable[Instance]]:
    """Return a source of `claim_id, surface`: Modbus maps, of one framing, with a holding register of one access."""

    def source(device: DeviceFile) -> Iterable[Instance]:
        for claim_id, claim in device.claims_of(ModbusMapClaim).items():
            for surface in claim.surfaces:
                spec = device.surfaces[surface]
                if not isinstance(spec, ModbusSurface) or framing not in (None, spec.framing):
                    continue
                held = {register.access for register in spec.registers.values() if register.table == "holding"}
                if access is None or access in held:
                    yield Instance(surface, (claim_id, surface))

    return source


def updates(device: DeviceFile) -> Iterable[Instance]:
    """Yield `claim_id` for each claim about updates."""
    for claim_id, claim in device.claims_of(UpdateClaim).items():
        yield Instance(claim.surface, (claim_id,))


def partable(device: DeviceFile, surface: str) -> bool:
    """Say whether a file to a surface can be sent in parts: over HTTP, where it has a connection of its own."""
    return isinstance(device.surfaces[surface], HttpSurface)


def parted_updates(device: DeviceFile) -> Iterable[Instance]:
    """Yield `claim_id` for each claim about updates whose bundles can be sent in parts."""
    for claim_id, claim in device.claims_of(UpdateClaim).items():
        if "upload" in claim.ways and partable(device, claim.surface):
            yield Instance(claim.surface, (claim_id,))


def update_bundles(
    *expected: Expected, why: Collection[str] = (), named: bool = False
) -> Callable[[Rig], Iterable[Instance]]:
    """Return a source of `claim_id, bundle`: the rig's bundles of which this must come, refused for one of `why`.

    With `named` only where the device is told the name of a bundle. A rig without bundles has one instance for each
    claim, which says so when it is run.
    """

    def source(rig: Rig) -> Iterable[Instance]:
        for claim_id, claim in rig.device.claims_of(UpdateClaim).items():
            if named and not _told_names(rig.device, claim):
                continue
            if rig.file.bundles is None:
                yield Instance("no-bundles", (claim_id, ""))
                continue
            for name, bundle in load_bundles(rig).items():
                if bundle.expect == "refused" and bundle.detail == "version" and not claim.newer_only:
                    continue
                if bundle.expect in expected and (not why or bundle.detail in why):
                    yield Instance(name, (claim_id, name))

    return source


def _told_names(device: DeviceFile, claim: UpdateClaim) -> bool:
    spec = device.surfaces[claim.surface]
    action = spec.actions.get("update-upload") if isinstance(spec, LogInSurface) else None
    return claim.ways[0] == "url" or (action is not None and "name" in action.named())
