"""Where testcases apply: sources of instances for `harness.testcase.each` that more than one testcase needs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Literal

from harness.rig.bundles import Expected, load_bundles
from harness.rig.claims import ModbusMapClaim, UpdateClaim
from harness.rig.device_file import DeviceFile, ModbusSurface
from harness.rig.loading import Rig
from harness.testcase import Instance

__all__ = ["modbus_maps", "update_bundles", "updates"]


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


def update_bundles(*expected: Expected, why: Collection[str] = ()) -> Callable[[Rig], Iterable[Instance]]:
    """Return a source of `claim_id, bundle`: the rig's bundles of which this must come, refused for one of `why`.

    A rig without bundles has one instance for each claim, which says so when it is run.
    """

    def source(rig: Rig) -> Iterable[Instance]:
        for claim_id, claim in rig.device.claims_of(UpdateClaim).items():
            if rig.file.bundles is None:
                yield Instance("no-bundles", (claim_id, ""))
                continue
            for name, bundle in load_bundles(rig).items():
                if bundle.expect == "refused" and bundle.detail == "version" and not claim.newer_only:
                    continue
                if bundle.expect in expected and (not why or bundle.detail in why):
                    yield Instance(name, (claim_id, name))

    return source
