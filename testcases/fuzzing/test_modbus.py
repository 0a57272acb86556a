"""Malformed Modbus requests."""

from __future__ import annotations

from collections.abc import Iterable

from harness.case import Case
from harness.device.outcomes import Accepted
from harness.fuzz.campaign import fuzz
from harness.fuzz.models import modbus_model
from harness.rig.claims import AvailabilityClaim, ModbusMapClaim
from harness.rig.device_file import DeviceFile, ModbusSurface
from harness.rig.rig_file import Effect, ModbusTcpLinkSpec
from harness.testcase import About, Instance, contributes, each, testcase, verifies


def modbus_surfaces(device: DeviceFile) -> Iterable[Instance]:
    """The Modbus surfaces that claim to withstand malformed input."""
    for claim_id, claim in device.claims_of(AvailabilityClaim).items():
        for surface in claim.surfaces:
            spec = device.surfaces[surface]
            if isinstance(spec, ModbusSurface) and device.claims_of(ModbusMapClaim, surface=surface):
                yield Instance(surface, (claim_id, surface))


@testcase(
    "FUZZ-MODBUS",
    title="The device withstands malformed Modbus requests and goes on performing",
    tags=[
        verifies("NMPA-2022/VV-THREAT", "NMPA-2022/IF-EDX", "NMPA-2020/IFU-iface", "FDA-VC/VULN-ABUSE", "FDA-A1/G"),
        contributes("ANSM-2019/CRIT-D", "ANSM-2019/SAFE-FIRST"),
    ],
    about=About(property="availability", phase="design", method="fuzz", threat="malformed requests on the field bus"),
    effects=[Effect.CONFIGURATION],
    unqualified=True,
    slow=True,
)
@each("claim_id, surface", modbus_surfaces)
def test_modbus(case: Case, claim_id: str, surface: str, fuzz_cases: int | None) -> None:
    device = case.bench.rig.device
    server = case.bench.modbus(surface)
    (claim,) = device.claims_of(ModbusMapClaim, surface=surface).values()

    case.attack(surface, "malformed requests made from the declared function codes")
    with case.step("Well-formed requests are understood"):
        for name, register in server.spec.registers.items():
            value = server.read_register(name)
            case.twin(f"read {name}", value)
            if register.access == "read-write" and isinstance(value, Accepted) and isinstance(value.value, float):
                case.twin(f"write {name} as it is", server.write(name, round(value.value / (register.scale or 1.0))))

    link = case.bench.rig.file.links[server.spec.link]
    model = modbus_model(server.spec, claim.functions, tcp=isinstance(link, ModbusTcpLinkSpec))
    fuzz(case, surface, model, claim=claim_id, cases=fuzz_cases)
