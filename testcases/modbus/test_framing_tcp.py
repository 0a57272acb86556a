"""The framing of Modbus TCP: well formed in unusual ways, and hostile."""

from __future__ import annotations

import struct

from harness.case import Case
from harness.device.modbus_map import ModbusSurface
from harness.device.outcomes import Accepted, NoAnswer, Outcome, name_of
from harness.instances import modbus_maps
from harness.links.modbus import read_registers, write_register
from harness.rig.rig_file import Effect
from harness.testcase import About, contributes, each, testcase, verifies

QUIET = 0.25
"""Seconds without an answer that show that half a request is not answered."""
HEAD = 9
"""Bytes of an answer before the registers, which may change from one reading to the next."""
TAGS = [
    verifies("NMPA-2022/IF-EDX", "NMPA-2022/IF-NET", "NMPA-2020/IFU-iface", "FDA-VC/VULN-ABUSE", "ANSM-2019/CRIT-D"),
    contributes("NMPA-2022/RPT-2.3-STD", "FDA-A1/G"),
]


def frame(door: ModbusSurface, pdu: bytes, *, transaction: int, protocol: int = 0, length: int | None = None) -> bytes:
    """Return a request with its MBAP header, which may lie."""
    size = len(pdu) + 1 if length is None else length
    return struct.pack(">HHHB", transaction, protocol, size, door.spec.unit) + pdu


@testcase(
    "MODBUS-TCP-FRAMING",
    title="Modbus TCP requests are answered with their transaction number, also in pieces or two in one segment",
    tags=TAGS,
    about=About(property="integrity", phase="design", method="function", threat="mixed-up answers"),
    version=2,
    unqualified=True,
)
@each("claim_id, surface", modbus_maps(framing="tcp"))
def test_framing(case: Case, claim_id: str, surface: str) -> None:
    door = case.bench.modbus(surface)
    settings = [*(door.holding("read-write") | door.holding("protected")).values()]
    pdu = read_registers(3, settings[0].address, settings[0].count) if settings else door.any_read()
    certain = None if settings else HEAD
    case.attack(surface, "unusual, but well-formed framing")
    plain = case.value(door.request(pdu), "a plain request")

    def compare(title: str, outcome: Outcome[bytes], *transactions: int) -> None:
        """The answers must be as long as the plain one, and the same as far as that is `certain`."""
        got = outcome.value if isinstance(outcome, Accepted) else b""
        wanted = [frame(door, plain, transaction=each) for each in transactions]
        size = len(wanted[0])
        parts = [got[at : at + size][:certain] for at in range(0, len(got), size)]
        held: bool | None = parts == [each[:certain] for each in wanted] and len(got) == size * len(wanted)
        if len(got) % size == 0 and parts == [each[:certain] for each in wanted[: len(parts)]] and not held:
            held = None  # the others may come later than anybody waits
        shown = b"".join(wanted).hex() + (", or other values" if certain else "")
        case.check(title, held=held, expected=shown, observed=got.hex() or name_of(outcome), claim=claim_id)

    with case.step("The transaction number comes back"):
        for number in (0, 1, 0x7FFF, 0x8000, 0xFFFF, 0x0A0D, 1):
            outcome = door.raw(frame(door, pdu, transaction=number), operation=f"transaction {number}")
            compare(f"answer to transaction {number}", outcome, number)
    with case.step("A request in pieces"):
        whole = frame(door, pdu, transaction=0x1234)
        for cut in (1, 6, 7, len(whole) - 1):
            early = door.raw(whole[:cut], operation=f"the first {cut} bytes", timeout=QUIET)
            silent = isinstance(early, NoAnswer) and early.reason == "silence"
            case.check(
                f"no answer to the first {cut} bytes", held=silent, expected="silence", observed=name_of(early),
                claim=claim_id,
            )  # fmt: skip
            rest = door.raw(whole[cut:], operation="the rest")
            compare(f"answer to a request cut after {cut} bytes", rest, 0x1234)
    with case.step("Several requests in one segment"):
        numbers = (0x2001, 0x2002, 0x2003)
        segment = b"".join(frame(door, pdu, transaction=number) for number in numbers)
        outcome = door.raw(segment, operation="three requests in one segment")
        compare("answers to three requests in one segment", outcome, *numbers)
    door.reconnect()


@testcase(
    "MODBUS-TCP-HOSTILE",
    title="Modbus TCP headers that lie do no harm",
    tags=TAGS,
    about=About(property="availability", phase="design", method="fuzz", threat="malformed header"),
    effects=[Effect.CONFIGURATION],
    unqualified=True,
)
@each("claim_id, surface", modbus_maps(framing="tcp", access="read-write"))
def test_hostile_headers(case: Case, claim_id: str, surface: str) -> None:
    door = case.bench.modbus(surface)
    name, register = next(iter(door.holding("read-write").items()))
    before = case.value(door.number(name), name)
    low, high = register.range or (0, 0xFFFF)
    other = low if before != low else high
    pdu = write_register(register.address, other)
    case.attack(surface, "headers that lie")
    hostile = {
        "protocol number 1": frame(door, pdu, transaction=1, protocol=1),
        "protocol number 65535": frame(door, pdu, transaction=1, protocol=0xFFFF),
        "length 0": frame(door, pdu, transaction=1, length=0),
        "length 1": frame(door, pdu, transaction=1, length=1),
        "a length too small for the request": frame(door, pdu, transaction=1, length=3),
        "a length larger than the request": frame(door, pdu, transaction=1, length=200),
        "length 255, more than a request may have": frame(door, pdu, transaction=1, length=255) + bytes(254),
        "length 65535": frame(door, pdu, transaction=1, length=0xFFFF) + bytes(2000),
        "a header without request": frame(door, b"", transaction=1),
        "seven bytes of ones": b"\xff" * 7,
        "text": b"GET / HTTP/1.0\r\n\r\n",
    }
    for title, adu in hostile.items():
        with case.step(title):
            door.raw(adu, operation=title, timeout=QUIET)  # whatever comes of it, short of harm
            door.reconnect()
            now = door.number(name)
            case.expect_accepted(f"a request after {title}", now, claim=claim_id)
            if isinstance(now, Accepted):
                case.unchanged(f"{name} after {title}", before=before, after=now.value, claim=claim_id)
    with case.step("The same write with a header that does not lie"):
        case.twin(name, door.write(name, other))
        now = door.number(name)
        seen = case.value(now, name)
        case.check("it is read back", held=seen == other or None, expected=other, observed=seen)
        case.twin(f"{name} restored", door.write(name, before))
