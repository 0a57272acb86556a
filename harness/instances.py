"""Where testcases apply: sources of instances for `harness.testcase.each` that more than one testcase needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

from harness.rig.claims import ModbusMapClaim
from harness.rig.device_file import DeviceFile, ModbusSurface
from harness.testcase import Instance

__all__ = ["modbus_maps"]


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
