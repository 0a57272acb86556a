"""Requests that the standard says how to refuse (Modbus application protocol V1.1b3, sections 6 and 7)."""

from __future__ import annotations

import struct

from harness.case import Case
from harness.device.modbus_map import ILLEGAL_ADDRESS, ILLEGAL_VALUE, ModbusSurface
from harness.links.modbus import read_registers, write_register, write_registers
from harness.rig.claims import ModbusMapClaim
from harness.rig.rig_file import Effect
from harness.testcase import About, contributes, each_surface, testcase, verifies

READS = ((3, "holding"), (4, "input"))
READ_MOST, WRITE_MOST = 125, 123
"""Registers in one request of functions 3 and 4, and of function 16 (V1.1b3, 6.3, 6.4 and 6.12)."""


def malformed(door: ModbusSurface) -> dict[str, tuple[bytes, set[int]]]:
    """Requests by description, each with the exception codes the standard leaves for it.

    Where a request is wrong in two ways or too short to be one, the standard lets the server choose.
    """
    either = {ILLEGAL_ADDRESS, ILLEGAL_VALUE}
    found: dict[str, tuple[bytes, set[int]]] = {}
    for function, table in READS:
        if not door.addresses(table):
            continue
        first, last = min(door.addresses(table)), max(door.addresses(table))
        outside = door.unmapped(table)
        found |= {
            f"function {function}, no register": (read_registers(function, first, 0), {ILLEGAL_VALUE}),
            f"function {function}, one too many": (read_registers(function, first, READ_MOST + 1), {ILLEGAL_VALUE}),
            f"function {function}, 65535 registers": (read_registers(function, first, 0xFFFF), {ILLEGAL_VALUE}),
            f"function {function}, from inside to outside": (read_registers(function, last, 2), {ILLEGAL_ADDRESS}),
            f"function {function}, over the last address": (read_registers(function, 0xFFFF, 2), {ILLEGAL_ADDRESS}),
            f"function {function}, outside the map": (read_registers(function, outside, 1), {ILLEGAL_ADDRESS}),
            f"function {function}, cut off": (read_registers(function, first, 1)[:-1], {ILLEGAL_VALUE}),
            f"function {function}, a byte too long": (read_registers(function, first, 1) + b"\0", {ILLEGAL_VALUE}),
        }
    if not door.addresses("holding"):
        return found
    first, last = min(door.addresses("holding")), max(door.addresses("holding"))
    head = struct.Struct(">BHHB")
    found |= {
        "function 6, outside the map": (write_register(door.unmapped("holding"), 0), {ILLEGAL_ADDRESS}),
        "function 6, cut off": (write_register(first, 0)[:-1], {ILLEGAL_VALUE}),
        "function 16, no register": (write_registers(first, []), {ILLEGAL_VALUE}),
        # As many bytes as a request holds: with one register more it would be none.
        "function 16, one too many": (head.pack(16, first, WRITE_MOST + 1, 248) + bytes(246), {ILLEGAL_VALUE}),
        "function 16, fewer bytes than registers": (head.pack(16, first, 2, 2) + bytes(2), {ILLEGAL_VALUE}),
        "function 16, more bytes than registers": (head.pack(16, first, 1, 4) + bytes(4), {ILLEGAL_VALUE}),
        "function 16, an odd number of bytes": (head.pack(16, first, 1, 3) + bytes(3), {ILLEGAL_VALUE}),
        "function 16, outside the map": (write_registers(door.unmapped("holding"), [0]), {ILLEGAL_ADDRESS}),
        "function 16, over the last address": (write_registers(0xFFFF, [0, 0]), {ILLEGAL_ADDRESS}),
        "function 16, from inside to outside": (write_registers(last, [0, 0]), either),
    }
    return found


@testcase(
    "MODBUS-EXCEPTIONS",
    title="Malformed Modbus requests are refused with the exception the standard names, and change nothing",
    tags=[
        verifies("NMPA-2022/IF-EDX", "NMPA-2020/IFU-iface", "FDA-VC/VULN-ABUSE", "ANSM-2019/CRIT-I"),
        contributes("NMPA-2022/RPT-2.3-STD", "ANSM-2019/CRIT-D"),
    ],
    about=About(property="integrity", phase="design", method="function", threat="malformed request"),
    effects=[Effect.CONFIGURATION],
    version=2,
    unqualified=True,
)
@each_surface(ModbusMapClaim)
def test_exceptions(case: Case, claim_id: str, surface: str) -> None:
    door = case.bench.modbus(surface)
    case.attack(surface, "malformed requests")
    # What can only be read may change by itself.
    words = {name: each for access in ("read-write", "protected") for name, each in door.holding(access).items()}
    before = {name: case.value(door.number(name), name) for name, each in words.items() if each.count == 1}
    for title, (pdu, codes) in malformed(door).items():
        case.expect_refused(title, door.request(pdu, operation=title), claim=claim_id, codes=sorted(codes))
    after = {name: case.value(door.number(name), name) for name in before}
    case.unchanged(
        "the holding registers that can be written, or must not be", before=before, after=after, claim=claim_id
    )
    for function, table in READS:
        if door.addresses(table):
            pdu = read_registers(function, min(door.addresses(table)), 1)
            case.twin(f"function {function}, well formed", door.request(pdu))
