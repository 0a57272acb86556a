"""Registers that must not be written over Modbus, alone and in the company of one that may."""

from __future__ import annotations

from harness.case import Case
from harness.device.modbus_map import ILLEGAL_ADDRESS, ModbusSurface
from harness.instances import modbus_maps
from harness.links.modbus import write_registers
from harness.rig.rig_file import Effect
from harness.testcase import About, contributes, each, testcase, verifies


def numbers(case: Case, door: ModbusSurface) -> dict[str, int]:
    """Read the holding registers of one word that can be written, or must not be: others may change by themselves."""
    names = [name for access in ("read-write", "protected") for name in door.holding(access)]
    return {name: case.value(door.number(name), name) for name in names if door.spec.registers[name].count == 1}


@testcase(
    "MODBUS-PROTECTED",
    title="Protected Modbus registers cannot be written, and a write that touches one is refused as a whole",
    tags=[
        verifies("NMPA-2022/AUTH", "NMPA-2022/IGAU", "NMPA-2020/IFU-iface", "FDA-A1/B", "ANSM-2019/CRIT-I"),
        contributes("ANSM-2019/SAFE-FIRST", "NMPA-2022/VV-THREAT", "FDA-VC/THREAT"),
    ],
    about=About(property="integrity", phase="design", method="penetration", threat="therapy changed over Modbus"),
    effects=[Effect.CONFIGURATION],
    version=2,
    severity="blocker",
)
@each("claim_id, surface", modbus_maps(access="protected"))
def test_protected_registers(case: Case, claim_id: str, surface: str) -> None:
    door = case.bench.modbus(surface)
    protected, writable = door.holding("protected"), door.holding("read-write")
    case.attack(surface, "writing protected registers")
    before = numbers(case, door)

    for name in protected:
        for several in (False, True):
            how = f"{name} by function {16 if several else 6}"
            with case.step(how):
                # The value it has, changed in one bit: it is not the value that is refused.
                outcome = door.write(name, before[name] ^ 1, several=several)
                case.expect_refused(how, outcome, claim=claim_id, codes=[ILLEGAL_ADDRESS])
                case.unchanged(f"registers after {how}", before=before, after=numbers(case, door), claim=claim_id)
    by_address = {register.address: name for name, register in (protected | writable).items()}
    for name, register in writable.items():
        low, high = register.range or (0, 0xFFFF)
        changed = before[name] + 1 if before[name] < high else max(low, before[name] - 1)
        run = [register.address]
        while run[-1] + 1 in by_address:
            run.append(run[-1] + 1)
            neighbour = by_address[run[-1]]
            if neighbour not in protected:
                continue
            with case.step(f"{len(run)} registers from {name} to {neighbour}"):
                values = [changed, *(before[by_address[address]] for address in run[1:-1]), before[neighbour] ^ 1]
                how = f"{name} to {neighbour} in one write"
                outcome = door.request(write_registers(run[0], values), operation=f"write {how}")
                case.expect_refused(how, outcome, claim=claim_id, codes=[ILLEGAL_ADDRESS])
                case.unchanged(f"registers after {how}", before=before, after=numbers(case, door), claim=claim_id)
        with case.step(f"The same write without a protected register: {name}"):
            for several in (False, True):
                how = f"{name} by function {16 if several else 6}"
                case.twin(how, door.write(name, changed, several=several))
                now = case.value(door.number(name), name)
                case.check(f"{how} is read back", held=now == changed or None, expected=changed, observed=now)
                case.twin(f"{how}, restored", door.write(name, before[name], several=several))
