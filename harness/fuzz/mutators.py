"""Our own mutators: they need good messages only, know no field, and are the same for the same seed.

First the corners of every message (lengths around what buffers and protocols like, truncations), then
seeded changes without end.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from harness.fuzz.cases import Drawn, FuzzCase, spread
from harness.fuzz.grammar import Message, Model

__all__ = ["MutatorSource"]

LENGTHS = (7, 8, 9, 12, 16, 24, 32, 40, 48, 64, 80, 128, 160, 255, 256, 257, 512, 1024, 4095)
"""Lengths in bytes around which buffers end: powers of two and their neighbours, ISO-TP frame borders."""

INTERESTING = (0x00, 0x01, 0x7F, 0x80, 0xFE, 0xFF, 0x0A, 0x0D, 0x25, 0x3B)
"""Bytes at the ends of ranges, and those with a meaning to parsers of text."""


class MutatorSource:
    """The case source `mutators`."""

    name = "mutators"

    def draw(self, model: Model, count: int, *, seed: int) -> Drawn:
        """Return `count` cases: up to half of them corners, spread over the messages, the others random."""
        longest = {message.name: max((f.longest for f in message.fields), default=0) for message in model.messages}
        good = {(message.state, message.render()) for message in model.messages}
        corners = {
            (case.state, case.data): case
            for message in model.messages
            for case in _corners(message, longest[message.name])
            if (case.state, case.data) not in good
        }
        first = spread(list(corners.values()), max(1, count // 2), seed=seed)
        seen = good | {(case.state, case.data) for case in first}
        rng = random.Random(seed)
        cases = list(first)
        number = 0
        # A model whose messages are tiny may run out of different inputs: bounded, and then fewer are drawn.
        while len(cases) < count and number < 50 * count:
            message = model.messages[number % len(model.messages)]
            name, change = _CHANGES[rng.randrange(len(_CHANGES))]
            data = change(message.render(), rng)[: longest[message.name] + 64]
            case = FuzzCase(id=f"mutators/{message.name}/{name}:{number}", data=data, state=message.state)
            number += 1
            if data and (case.state, data) not in seen:
                seen.add((case.state, data))
                cases.append(case)
        return Drawn(cases=tuple(cases), available=0)


def _corners(message: Message, longest: int) -> Iterator[FuzzCase]:
    good = message.render()
    head = message.fields[0].value or good[:1]
    rest = good[len(head) :] or good
    for length in LENGTHS:
        if len(head) < length <= longest + len(head):
            data = (head + rest * (length // len(rest) + 1))[:length]
            yield FuzzCase(id=f"mutators/{message.name}/length:{length}", data=data, state=message.state)
    for length in sorted({1, len(good) // 2, len(good) - 1} - {0, len(good)}):
        yield FuzzCase(id=f"mutators/{message.name}/truncation:{length}", data=good[:length], state=message.state)


def _flip(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _poke(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        changed[rng.randrange(len(changed))] = rng.choice(INTERESTING)
    return bytes(changed)


def _truncate(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(1, len(data) + 1)]


def _repeat(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data))
    end = rng.randrange(start + 1, len(data) + 1)
    return data[:end] + data[start:end] * rng.choice((1, 2, 4, 8, 16, 32)) + data[end:]


def _insert(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.randbytes(rng.choice((1, 2, 4, 16, 64))) + data[at:]


def _lengthen(data: bytes, rng: random.Random) -> bytes:
    return data + bytes([rng.choice((*INTERESTING, 0x41))]) * (rng.choice(LENGTHS) + rng.randint(-1, 1))


_CHANGES: tuple[tuple[str, Callable[[bytes, random.Random], bytes]], ...] = (
    ("flip", _flip),
    ("poke", _poke),
    ("truncate", _truncate),
    ("repeat", _repeat),
    ("insert", _insert),
    ("lengthen", _lengthen),
)
