"""What is compressed in bytes of a device, by gzip, zlib, zip, bzip2 or xz, wherever it begins and in each other."""

from __future__ import annotations

import bz2
import lzma
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from harness.verdict import Undecided

__all__ = ["MOST", "Unpacked", "unpacked"]

MOST = 64 * 1024 * 1024
"""Bytes that are unpacked of one piece of data in all: a device may send an archive bomb."""
DEEPEST = 3
"""Compressed data in compressed data."""
MANY = 4096
"""Places where something compressed may begin: beyond it the device wants to hold us up."""
_STEP = 1024  # bytes unpacked at a time: some 20 MB at most
_SHORTEST = 8  # bytes; what is shorter holds nothing that is looked for, and comes of chance


@dataclass(frozen=True, slots=True)
class Unpacked:
    """Bytes that were compressed, and where: `gzip at byte 20`."""

    place: str
    data: bytes


class _Decompressor(Protocol):
    def decompress(self, data: memoryview, /) -> bytes: ...

    @property
    def eof(self) -> bool: ...


def _deflated() -> _Decompressor:
    return zlib.decompressobj(-zlib.MAX_WBITS)


_KINDS: dict[str, tuple[re.Pattern[bytes], Callable[[], _Decompressor]]] = {
    "gzip": (re.compile(rb"(?=\x1f\x8b\x08)"), lambda: zlib.decompressobj(16 + zlib.MAX_WBITS)),
    "zlib": (re.compile(rb"(?=\x78[\x01\x5e\x9c\xda])"), zlib.decompressobj),
    "bzip2": (re.compile(rb"(?=BZh[1-9]1AY&SY)"), bz2.BZ2Decompressor),
    "xz": (re.compile(rb"(?=\xfd7zXZ\x00)"), lzma.LZMADecompressor),
}
"""How each begins (RFC 1952, RFC 1950, the formats of bzip2 and xz) and is unpacked."""
_ZIPPED = re.compile(rb"PK\x03\x04.{4}\x08\x00.{16}(?P<name>..)(?P<extra>..)", re.DOTALL)
"""Local file header of a deflated member (APPNOTE 4.3.7)."""


def unpacked(data: bytes) -> Iterator[Unpacked]:
    """Yield what is compressed in `data`, whole or as far as it can be unpacked.

    Raises:
        Undecided: it is more than `MOST` bytes, or begins in more than `MANY` places.
    """
    left, tried = MOST, 0
    waiting = [("", data, 0)]
    while waiting:
        within, packed, depth = waiting.pop()
        for kind, at, opened in _beginnings(packed):
            content, tried = _content(opened, memoryview(packed)[at:], left), tried + 1
            if len(content) > left or tried > MANY:
                raise Undecided(f"too much is compressed in {len(data)} bytes of the device to be looked through")
            if len(content) < _SHORTEST:
                continue
            left -= len(content)
            place = f"{kind} at byte {at}{within and f' of {within}'}"
            yield Unpacked(place, content)
            if depth + 1 < DEEPEST:
                waiting.append((place, content, depth + 1))


def _beginnings(data: bytes) -> Iterator[tuple[str, int, _Decompressor]]:
    for kind, (pattern, opened) in _KINDS.items():
        for hit in pattern.finditer(data):
            yield kind, hit.start(), opened()
    for hit in _ZIPPED.finditer(data):
        skipped = int.from_bytes(hit["name"], "little") + int.from_bytes(hit["extra"], "little")
        yield "zip", hit.end() + skipped, _deflated()


def _content(opened: _Decompressor, packed: memoryview, most: int) -> bytes:
    """Return what is unpacked, little more than `most` bytes; what comes before an error counts, as of a cut file."""
    content = b""
    for at in range(0, len(packed), _STEP):
        try:
            content += opened.decompress(packed[at : at + _STEP])
        except (zlib.error, lzma.LZMAError, OSError):
            break
        if len(content) > most or opened.eof:
            break
    return content
