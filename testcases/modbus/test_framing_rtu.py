"""The framing of Modbus RTU: frames that are not for this unit, damaged, or none at all."""

from __future__ import annotations

import random

from harness.case import Case
from harness.device.outcomes import Accepted, NoAnswer, name_of
from harness.instances import modbus_maps
from harness.links.modbus import crc16, read_registers, write_register
from harness.rig.rig_file import Effect
from harness.testcase import About, contributes, each, testcase, verifies

QUIET = 0.15
"""Seconds without an answer that show that a frame is not answered; an answer takes a tenth of it."""
SEED = 20261122


def frame(unit: int, pdu: bytes) -> bytes:
    """Return an RTU frame with its checksum."""
    body = bytes([unit]) + pdu
    return body + crc16(body)


@testcase(
    "MODBUS-RTU-FRAMING",
    title="Modbus RTU frames for other units, damaged frames and noise are not answered and do no harm",
    tags=[
        verifies("NMPA-2022/IF-EDX", "NMPA-2022/TXIG", "NMPA-2020/IFU-iface", "FDA-VC/VULN-ABUSE", "ANSM-2019/CRIT-D"),
        contributes("NMPA-2022/RPT-2.3-STD", "FDA-A1/G"),
    ],
    about=About(property="integrity", phase="design", method="fuzz", threat="disturbed or foreign frames"),
    effects=[Effect.CONFIGURATION],
)
@each("claim_id, surface", modbus_maps(framing="rtu", access="read-write"))
def test_framing(case: Case, claim_id: str, surface: str) -> None:
    door = case.bench.modbus(surface)
    name, register = next(iter(door.holding("read-write").items()))
    before = case.value(door.number(name), name)
    low, high = register.range or (0, 0xFFFF)
    other = low if before != low else high
    write, unit = write_register(register.address, other), door.spec.unit
    read = read_registers(3, register.address, 1)
    right = frame(unit, write)
    rng = random.Random(SEED)
    # A write to everybody (unit 0) is lawful: carried out and not answered. So nobody is asked to write here.
    unanswered = {f"a request to unit {number}": frame(number, read) for number in (0, unit + 1, 127, 247, 248, 255)}
    unanswered |= {f"a write to unit {number}": frame(number, write) for number in (unit + 1, 247)}
    unanswered |= {
        "a checksum of zeros": right[:-2] + bytes(2),
        "a checksum with its bytes swapped": right[:-2] + right[:-3:-1],
        "one bit wrong": right[:4] + bytes([right[4] ^ 1]) + right[5:],
        "a frame cut off": right[:-1],
        "a unit alone": right[:1],
        "300 bytes of zeros": bytes(300),
        "300 bytes of noise": rng.randbytes(300),
        "noise before a right frame": b"\xff\x00\xff" + right,
    }
    case.attack(surface, "foreign and damaged frames")
    for title, adu in unanswered.items():
        with case.step(title):
            outcome = door.raw(adu, operation=title, timeout=QUIET)
            case.check(
                f"no answer to {title}", held=isinstance(outcome, NoAnswer), expected="silence",
                observed=name_of(outcome), claim=claim_id,
            )  # fmt: skip
            now = door.number(name)
            case.expect_accepted(f"a right request after {title}", now, claim=claim_id)
            if isinstance(now, Accepted):
                case.unchanged(f"{name} after {title}", before=before, after=now.value, claim=claim_id)
    with case.step("The same write in a right frame"):
        case.twin(name, door.raw(right, operation="the right frame"))
        seen = case.value(door.number(name), name)
        case.check("it is read back", held=seen == other or None, expected=other, observed=seen)
        case.twin(f"{name} restored", door.write(name, before))
