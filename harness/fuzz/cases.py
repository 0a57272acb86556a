"""Fuzz cases as bytes, and the framed stream in which they travel and are kept.

A stream is the magic `PRIGFUZ1`, then frames: length u32, CRC-32 u32, payload. A case frame's payload is
`c`, the length of the id u16, the id, the length of the state u16, the state, the data. The last frame is `e` with the
number of cases u32 and of mutations the model has in all u32: a stream without it was cut off.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import BinaryIO

__all__ = ["Drawn", "FuzzCase", "read_cases", "spread", "write_cases"]

MAGIC = b"PRIGFUZ1"
_FRAME = struct.Struct(">II")
_NAME = struct.Struct(">H")
_END = struct.Struct(">II")


@dataclass(frozen=True, slots=True)
class FuzzCase:
    """One input. `id` names the mutation for good; `state` is that of the message it was made from."""

    id: str
    data: bytes
    state: str = ""

    @property
    def group(self) -> tuple[str, int]:
        """What it has in common with its like: the field that was changed, and the order of its length."""
        return self.id.rsplit(":", 1)[0], len(self.data).bit_length()


@dataclass(frozen=True, slots=True)
class Drawn:
    """Cases drawn from a source, out of `available` different ones (0: without end)."""

    cases: tuple[FuzzCase, ...]
    available: int


def spread(cases: Sequence[FuzzCase], count: int, *, seed: int) -> list[FuzzCase]:
    """Return `count` of `cases`, the same for the same seed, spread evenly over the groups; all, if there are fewer.

    Each round takes one case of every group, so that a field with few mutations is not drowned by one with
    thousands, nor the few very long ones by the many short.
    """
    groups: dict[tuple[str, int], list[FuzzCase]] = {}
    for case in cases:
        groups.setdefault(case.group, []).append(case)

    def lot(text: str) -> int:
        return zlib.crc32(f"{seed} {text}".encode())

    for members in groups.values():
        members.sort(key=lambda case: (lot(case.id), case.id), reverse=True)
    order = sorted(groups, key=lambda group: (lot(repr(group)), group))
    drawn: list[FuzzCase] = []
    while len(drawn) < count and order:
        for group in order:
            if len(drawn) < count:
                drawn.append(groups[group].pop())
        order = [group for group in order if groups[group]]
    return drawn


def write_cases(stream: BinaryIO, cases: Iterable[FuzzCase], *, available: int) -> None:
    """Write a whole stream."""
    stream.write(MAGIC)
    count = 0
    for case in cases:
        name, state = case.id.encode(), case.state.encode()
        _write_frame(stream, b"c" + _NAME.pack(len(name)) + name + _NAME.pack(len(state)) + state + case.data)
        count += 1
    _write_frame(stream, b"e" + _END.pack(count, available))
    stream.flush()


def read_cases(blob: bytes) -> Drawn:
    """Read a whole stream.

    Raises:
        ValueError: it is not one, is damaged, or was cut off.
    """
    if not blob.startswith(MAGIC):
        raise ValueError("no stream of fuzz cases")
    cases: list[FuzzCase] = []
    position = len(MAGIC)
    while position + _FRAME.size <= len(blob):
        length, checksum = _FRAME.unpack_from(blob, position)
        payload = blob[position + _FRAME.size : position + _FRAME.size + length]
        if len(payload) < length:
            break
        if zlib.crc32(payload) != checksum:
            raise ValueError(f"the frame at byte {position} is damaged")
        position += _FRAME.size + length
        if payload[:1] == b"e" and len(payload) == 1 + _END.size:
            count, available = _END.unpack_from(payload, 1)
            if count != len(cases) or position != len(blob):
                raise ValueError(f"{len(cases)} cases came, {count} were sent")
            return Drawn(cases=tuple(cases), available=available)
        cases.append(_case(payload))
    raise ValueError(f"the stream was cut off after {len(cases)} cases")


def _write_frame(stream: BinaryIO, payload: bytes) -> None:
    stream.write(_FRAME.pack(len(payload), zlib.crc32(payload)) + payload)


def _case(payload: bytes) -> FuzzCase:
    try:
        if payload[:1] != b"c":
            raise ValueError("unknown frame")
        texts: list[str] = []
        position = 1
        for _ in range(2):
            (length,) = _NAME.unpack_from(payload, position)
            position += _NAME.size
            if position + length > len(payload):
                raise ValueError("a frame is too short")
            texts.append(payload[position : position + length].decode())
            position += length
    except struct.error as error:
        raise ValueError("a frame is too short") from error
    return FuzzCase(id=texts[0], state=texts[1], data=payload[position:])
