"""Modbus requests and answers as bytes: built without asking whether they make sense, judged strictly.

Source: Modbus Application Protocol 1.1b3, section 6.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = [
    "Closed",
    "Garbled",
    "ModbusOutcome",
    "ModbusReply",
    "NoConnection",
    "build_reply",
    "decode_registers",
    "mismatch",
    "read_registers",
    "write_register",
    "write_registers",
]

BIT_READS = (1, 2)
REGISTER_READS = (3, 4)
ECHOED_WRITES = (5, 6, 15, 16)


@dataclass(frozen=True, slots=True)
class ModbusReply:
    """An answer that belongs to its request. `exception` is the code of an exception answer, else None."""

    pdu: bytes
    function: int
    exception: int | None
    unit: int


@dataclass(frozen=True, slots=True)
class Garbled:
    """Bytes that are no answer to this request; `reason` says what is wrong with them."""

    raw: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class Closed:
    """The device closed the connection; `raw` came before. The next request connects anew."""

    raw: bytes


@dataclass(frozen=True, slots=True)
class NoConnection:
    """The device did not let itself be connected to: refused, unreachable, no answer."""

    reason: str


ModbusOutcome = ModbusReply | Garbled | Closed | NoConnection | None
"""What a request came to; None is silence."""


def read_registers(function: int, address: int, count: int) -> bytes:
    """Return the request to read `count` items (functions 1 to 4). Nothing is checked: a test may ask for nonsense."""
    return struct.pack(">BHH", function, address, count)


def write_register(address: int, value: int) -> bytes:
    """Return the request to write one holding register (function 6)."""
    return struct.pack(">BHH", 6, address, value)


def write_registers(address: int, values: Sequence[int]) -> bytes:
    """Return the request to write holding registers (function 16)."""
    count = len(values)
    return struct.pack(f">BHHB{count}H", 16, address, count, (2 * count) & 0xFF, *values)


def decode_registers(pdu: bytes) -> list[int]:
    """Return the register values of an answer to function 3 or 4.

    Raises:
        ValueError: the bytes are no such answer.
    """
    if len(pdu) < 2 or pdu[0] not in REGISTER_READS or len(pdu) != 2 + pdu[1] or pdu[1] % 2:
        raise ValueError(f"no register answer: {pdu.hex()}")
    return list(struct.unpack(f">{pdu[1] // 2}H", pdu[2:]))


def mismatch(request: bytes, answer: bytes) -> str | None:
    """Say why `answer` cannot belong to `request` (both PDUs), None if it can."""
    if not answer:
        return "empty answer"
    if not request:
        return None
    function = request[0]
    if answer[0] == function | 0x80 and function < 0x80:
        return None if len(answer) == 2 else "an exception answer has two bytes"
    if answer[0] != function:
        return f"function {answer[0]} answers function {function}"
    if function in BIT_READS + REGISTER_READS and len(request) == 5:
        count = int.from_bytes(request[3:5], "big")
        size = 2 * count if function in REGISTER_READS else -(-count // 8)
        if len(answer) != 2 + size or answer[1] != size:
            return f"{len(answer)} bytes answer a request for {count}"
    if function in ECHOED_WRITES and len(request) >= 5 and answer != request[:5]:
        return "a write is answered by its address and value or quantity"
    return None


def build_reply(request: bytes, answer: bytes, *, unit: int, raw: bytes) -> ModbusReply | Garbled:
    reason = mismatch(request, answer)
    if reason is not None:
        return Garbled(raw, reason)
    exception = answer[1] if answer[0] & 0x80 and len(answer) == 2 else None
    return ModbusReply(pdu=answer, function=answer[0] & 0x7F, exception=exception, unit=unit)
