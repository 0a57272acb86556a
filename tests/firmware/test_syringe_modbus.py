"""The Modbus RTU slave of the emulated syringe driver (SD200-ICD 3)."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from syringe_device import Syringe, rtu

INPUT = [*range(9), *range(16, 19), *range(20, 25), *range(28, 31)]
HOLDING = [0, 1, 16, 17, 18]


def letters(words: list[int]) -> str:
    return b"".join(word.to_bytes(2, "big") for word in words).decode()


def test_measurements_and_identity(syringe: Syringe) -> None:
    status = syringe.spoken("status")
    uptime_high, uptime_low, state, alarm, rate, flow, _, _, sequence = syringe.registers(4, 0, 9)
    assert (uptime_high << 16 | uptime_low) >= int(status["uptime_ms"])
    assert (state, alarm, rate) == (1, 0, 50)
    assert flow == pytest.approx(50, abs=2.5)
    assert sequence >= int(status["seq"])
    assert syringe.registers(4, 16, 3) == [1, 0, 0]
    assert letters(syringe.registers(4, 20, 5)) == "SD200-0093"
    assert letters(syringe.registers(4, 28, 3)) == "SD-200"


@pytest.mark.parametrize(("function", "there"), [(4, INPUT), (3, HOLDING)])
def test_the_map_has_these_registers_and_no_others(syringe: Syringe, function: int, there: list[int]) -> None:
    for address in [*range(40), 0x100, 0xFFFF]:
        answer = syringe.modbus(bytes([function]) + address.to_bytes(2, "big") + b"\x00\x01")
        assert (answer[:2] == bytes([function, 2])) == (address in there), address
        assert address in there or answer == bytes([function | 0x80, 2])


@pytest.mark.parametrize(
    ("pdu", "answer"),
    [
        ("08 0000 1234", "88 01"),
        ("01 0000 0001", "81 01"),
        ("04 0000 0000", "84 03"),
        ("04 0000 007E", "84 03"),
        ("04 0007 0003", "84 02"),
        ("06 0000 0065", "86 03"),
        ("06 0001 0000", "86 03"),
        ("06 0005 0001", "86 02"),
        ("06 0010 0190", "86 02"),
        ("10 0000 0002 04 000A 0003", "10 0000 0002"),
        ("10 0000 0002 03 000A 00", "90 03"),
        ("10 0000 0000 00", "90 03"),
        ("10 0001 0002 04 0003 0003", "90 02"),
        ("2B 0D 01 00", "AB 01"),
        ("2B 0E 05 00", "AB 03"),
        ("2B 0E 04 03", "AB 02"),
        ("2B 0E 04 01", "2B 0E 04 81 00 00 01 01 06 53442D323030"),
        (
            "2B 0E 01 00",
            "2B 0E 01 81 00 00 03 00 12 4D6572696469616E202866697874757265 29 01 06 53442D323030 02 05 312E302E30",
        ),
    ],
)
def test_answers_and_exceptions(syringe: Syringe, pdu: str, answer: str) -> None:
    assert syringe.modbus(bytes.fromhex(pdu)) == bytes.fromhex(answer)


def test_a_service_session_opens_the_protected_registers(syringe: Syringe) -> None:
    write = bytes.fromhex("06 0010 0190")
    assert syringe.modbus(write) == b"\x86\x02"
    syringe.log_in("operator")
    assert syringe.modbus(write) == b"\x86\x02"
    syringe.accept("logout")
    syringe.log_in("service")
    assert syringe.modbus(write) == write
    assert syringe.registers(3, 16, 3) == [400, 2000, 50]
    assert syringe.modbus(bytes.fromhex("06 0010 012B")) == b"\x86\x03"
    syringe.accept("logout")
    assert syringe.modbus(bytes.fromhex("06 0010 0191")) == b"\x86\x02"
    assert syringe.registers(3, 16, 1) == [400]


@pytest.mark.parametrize(
    "sent",
    [
        rtu(b"\x04\x00\x00\x00\x01", unit=2),
        rtu(b"\x06\x00\x00\x00\x0a", unit=0),
        rtu(b"\x04\x00\x00\x00\x01")[:-1] + b"\x00",
        rtu(b"\x04\x00\x00\x00\x01")[:5],
        b"\x01",
        bytes(400),
    ],
)
def test_no_answer_and_then_the_next_one(syringe: Syringe, sent: bytes) -> None:
    syringe.send("modbus", sent)
    assert syringe.silent("modbus", seconds=0.3) == b""
    assert syringe.registers(3, 0, 1) == [80]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pdu=st.binary(min_size=1, max_size=253))
def test_any_request_gets_an_answer_of_its_function(syringe: Syringe, pdu: bytes) -> None:
    answer = syringe.modbus(pdu)
    assert answer[0] & 0x7F == pdu[0] & 0x7F
    assert b"FATAL" not in syringe.seen["console"]
