"""Function codes and registers: all that is declared, and nothing else."""

from __future__ import annotations

import random

from harness.case import Case
from harness.device.modbus_map import ModbusSurface
from harness.device.outcomes import Accepted
from harness.instances import modbus_maps
from harness.links.modbus import write_register
from harness.procedures.scanning import READ_FUNCTIONS, exception_code, modbus_functions, readable_registers
from harness.rig.claims import ModbusMapClaim
from harness.rig.rig_file import Effect
from harness.testcase import About, contributes, each, each_surface, testcase, verifies

SWEPT = 0x200
"""Addresses tried one by one from 0 on: a block that reaches outside the map is refused as a whole."""
SCATTERED = 150
"""Addresses tried at random further up, and around the usual bases of register maps."""
BASES = (1000, 4096, 9999, 10000, 30000, 30001, 32768, 40000, 40001, 49999, 50000, 65534, 65535)
BEYOND = 8
"""Addresses behind the declared ones on which a write is tried."""
SEED = 20261122

TAGS = [
    verifies("NMPA-2022/SAHD", "NMPA-2022/IF-EDX", "NMPA-2020/IFU-iface", "FDA-VC/VULN-SURF"),
    contributes("ANSM-2019/RISK-OBSC", "ANSM-2019/CRIT-I", "NMPA-2022/RPT-2.3-STD"),
]


@testcase(
    "MODBUS-FUNCTIONS",
    title="The Modbus function codes are the declared ones, all of them; any other is refused as the standard says",
    tags=TAGS,
    about=About(property="integrity", phase="design", method="scan", threat="undeclared function"),
    unqualified=True,
)
@each_surface(ModbusMapClaim)
def test_functions(case: Case, claim_id: str, surface: str) -> None:
    claim = case.bench.rig.device.claims_of(ModbusMapClaim)[claim_id]
    door = case.bench.modbus(surface)
    case.attack(surface, "every function code")
    present = modbus_functions(case, door)
    case.check(
        "function codes", held=present == set(claim.functions), expected=sorted(claim.functions),
        observed=sorted(present), claim=claim_id,
    )  # fmt: skip


@testcase(
    "MODBUS-READABLE",
    title="The Modbus registers that can be read are the declared ones, all of them and no others",
    tags=TAGS,
    about=About(property="confidentiality", phase="design", method="scan", threat="undeclared register"),
    unqualified=True,
)
@each_surface(ModbusMapClaim)
def test_readable(case: Case, claim_id: str, surface: str) -> None:
    claim = case.bench.rig.device.claims_of(ModbusMapClaim)[claim_id]
    door = case.bench.modbus(surface)
    rng = random.Random(SEED)
    case.attack(surface, "reading registers inside and outside the map")
    for table, function in READ_FUNCTIONS.items():
        if function not in claim.functions or not door.addresses(table):
            continue
        with case.step(f"Function {function}, {table} registers"):
            declared = door.addresses(table)
            tried = declared | set(range(SWEPT)) | set(BASES) | set(rng.sample(range(SWEPT, 0x10000), SCATTERED))
            readable = readable_registers(case, door, table, tried)
            case.check(
                f"{table} registers that can be read", held=readable == declared, expected=sorted(declared),
                observed=sorted(readable), claim=claim_id,
            )  # fmt: skip


@testcase(
    "MODBUS-WRITABLE",
    title="Every Modbus register declared writable takes its whole range and nothing beyond it; others take nothing",
    tags=[
        verifies("NMPA-2022/AUTH", "NMPA-2022/IF-EDX", "NMPA-2020/IFU-iface", "FDA-VC/VULN-ABUSE", "ANSM-2019/CRIT-I"),
        contributes("NMPA-2022/CNFS", "NMPA-2020/IFU-config", "ANSM-2019/SAFE-FIRST"),
    ],
    about=About(property="integrity", phase="design", method="function", threat="value out of range"),
    effects=[Effect.CONFIGURATION],
    unqualified=True,
    version=2,
)
@each("claim_id, surface", modbus_maps(access="read-write"))
def test_writable(case: Case, claim_id: str, surface: str) -> None:
    door = case.bench.modbus(surface)
    case.attack(surface, "writing registers within and out of their range, and outside the map")
    for name, register in door.holding("read-write").items():
        before = case.value(door.number(name), name)
        low, high = register.range or (before, before)
        for several in (False, True):
            how = f"{name} by function {16 if several else 6}"
            with case.step(f"{how}: {low} to {high}"):
                for value in (low, high):
                    case.expect_accepted(f"{how}: {value}", door.write(name, value, several=several), claim=claim_id)
                    now = case.value(door.number(name), name)
                    case.check(f"{how} is read back", held=now == value, expected=value, observed=now, claim=claim_id)
                for value in sorted({low - 1, high + 1, 0x7FFF, 0x8000, 0xFFFF} & set(range(0x10000))):
                    if register.range and not low <= value <= high:
                        outcome = door.write(name, value, several=several)
                        case.expect_refused(f"{how}: {value}", outcome, claim=claim_id)
                now = case.value(door.number(name), name)
                case.unchanged(f"{name} after values out of range", before=high, after=now, claim=claim_id)
        case.twin(f"{name} restored", door.write(name, before))
    with case.step("Registers that can only be read"):
        for name in door.holding("read"):
            before = case.value(door.number(name), name)
            for several in (False, True):
                # The value it has: were it taken, nothing would have changed.
                outcome = door.write(name, before, several=several)
                case.expect_refused(f"{name} by function {16 if several else 6}", outcome, claim=claim_id)
    with case.step("Addresses behind the declared ones"):
        _write_beyond(case, door, claim_id)


def _write_beyond(case: Case, door: ModbusSurface, claim_id: str) -> None:
    declared = door.addresses("holding")
    behind = [address for address in range(max(declared) + 1, max(declared) + 1 + BEYOND) if address <= 0xFFFF]
    taken = []
    for address in (*behind, door.unmapped("holding")):
        outcome = door.request(write_register(address, 0), operation=f"write to address {address}")
        if isinstance(outcome, Accepted):
            taken.append(address)
        exception_code(case, outcome, f"write to address {address}")
    case.check("undeclared registers that take a write", held=not taken, expected=[], observed=taken, claim=claim_id)
