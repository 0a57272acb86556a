"""Captures: everything that crossed a link, as framed bytes in a file of its own.

A capture file is the magic `PRIGCAP1` followed by frames. A frame is a fixed header, the payload and a
CRC-32 of both, so that a frame torn by `kill -9` is recognised and dropped on reading:

    monotonic time u64 ns · direction u8 (0 to the device, 1 from the device) · channel u32 · length u32
    · payload · crc32 u32

`channel` is free for the link (CAN identifier, UDP port, connection number). The journal refers to a
capture by name and SHA-256.
"""

from __future__ import annotations

import hashlib
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Protocol

from harness.errors import BenchFault
from harness.record_file import RecordFile

__all__ = ["CaptureFile", "Direction", "Frame", "NullTap", "Tap", "read_capture"]

MAGIC = b"PRIGCAP1"
_HEADER = struct.Struct(">QBII")
_CRC = struct.Struct(">I")


class Direction(IntEnum):
    """Which way bytes went, seen from the bench."""

    TO_DEVICE = 0
    FROM_DEVICE = 1


@dataclass(frozen=True, slots=True)
class Frame:
    """One recorded piece: `at_ns` is `time.monotonic_ns()` when it was handed over or read."""

    at_ns: int
    direction: Direction
    channel: int
    data: bytes


class Tap(Protocol):
    """Where a link reports every byte in either direction, before anybody interprets it."""

    def record(self, direction: Direction, data: bytes, *, channel: int = 0) -> None:
        """Record `data` as it crossed the link just now."""


class NullTap:
    """A tap that keeps nothing, for tools that run without a run folder."""

    def record(self, direction: Direction, data: bytes, *, channel: int = 0) -> None:
        """Drop `data`."""


class CaptureFile:
    """A tap that appends frames to `path`; safe to share between threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._hash = hashlib.sha256()
        self._frames = 0
        self._bytes = 0
        self._lost = 0
        self._file = RecordFile(path)
        self._write(MAGIC)

    def record(self, direction: Direction, data: bytes, *, channel: int = 0) -> None:
        """Append one frame in a single write, so that a kill tears at most this frame; on a full disk it is lost."""
        head = _HEADER.pack(time.monotonic_ns(), direction, channel, len(data))
        with self._lock:
            if self._file.closed:
                return
            if self._lost:  # the disk was full: what is left of it is for the journal
                self._lost += 1
                return
            try:
                self._write(head + data + _CRC.pack(zlib.crc32(head + data)))
            except BenchFault:
                self._lost += 1  # the reader of a link goes on; on a full disk the testcase does not pass
                return
            self._frames += 1
            self._bytes += len(data)

    def close(self) -> dict[str, object]:
        """Close the file and return what the journal keeps of it: name, SHA-256, frames, payload bytes, frames lost."""
        with self._lock:
            self._file.close()
        return {
            "file": self.path.name,
            "sha256": self._hash.hexdigest(),
            "frames": self._frames,
            "bytes": self._bytes,
            "lost": self._lost,
        }

    def _write(self, data: bytes) -> None:
        self._file.append(data)
        self._hash.update(data)


def read_capture(path: Path) -> Iterator[Frame]:
    """Yield the whole frames of a capture file; a torn last frame is left out.

    Raises:
        ValueError: the file does not start with the magic, or a frame in the middle is damaged.
    """
    blob = path.read_bytes()
    if not blob.startswith(MAGIC):
        raise ValueError(f"{path}: not a capture file")
    position = len(MAGIC)
    while position + _HEADER.size <= len(blob):
        at_ns, direction, channel, length = _HEADER.unpack_from(blob, position)
        end = position + _HEADER.size + length
        if end + _CRC.size > len(blob):
            return
        if _CRC.unpack_from(blob, end)[0] != zlib.crc32(blob[position:end]):
            if end + _CRC.size == len(blob):
                return
            raise ValueError(f"{path}: frame at byte {position} is damaged")
        data = blob[position + _HEADER.size : end]
        yield Frame(at_ns=at_ns, direction=Direction(direction), channel=channel, data=data)
        position = end + _CRC.size
