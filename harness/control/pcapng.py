"""A writer of pcapng capture files: one interface, nanoseconds, direction of every frame."""

from __future__ import annotations

import struct
import time

__all__ = ["LINKTYPE_ETHERNET", "OUTBOUND", "INBOUND", "block_header", "packet_block", "statistics_block"]

LINKTYPE_ETHERNET = 1
INBOUND = 1
OUTBOUND = 2

_SECTION = 0x0A0D0D0A
_INTERFACE = 1
_STATISTICS = 5
_PACKET = 6
_MAGIC = 0x1A2B3C4D


def block_header(interface: str) -> bytes:
    """The section and interface blocks that open a file."""
    section = struct.pack("=IHHq", _MAGIC, 1, 0, -1)
    options = _option(2, interface.encode()) + _option(9, b"\x09") + _option(0, b"")
    return _block(_SECTION, section) + _block(_INTERFACE, struct.pack("=HHI", LINKTYPE_ETHERNET, 0, 0) + options)


def packet_block(frame: bytes, *, at_ns: int, direction: int) -> bytes:
    """One frame, with the wall-clock time in nanoseconds and INBOUND or OUTBOUND as the bench sees it."""
    head = struct.pack("=IIIII", 0, at_ns >> 32, at_ns & 0xFFFFFFFF, len(frame), len(frame))
    options = _option(2, struct.pack("=I", direction)) + _option(0, b"")
    return _block(_PACKET, head + _padded(frame) + options)


def statistics_block(*, received: int, dropped: int) -> bytes:
    """The closing counts: frames written and frames that the kernel had to drop."""
    now = time.time_ns()
    options = _option(4, struct.pack("=Q", received)) + _option(5, struct.pack("=Q", dropped)) + _option(0, b"")
    return _block(_STATISTICS, struct.pack("=III", 0, now >> 32, now & 0xFFFFFFFF) + options)


def _block(kind: int, body: bytes) -> bytes:
    length = len(body) + 12
    return struct.pack("=II", kind, length) + body + struct.pack("=I", length)


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("=HH", code, len(value)) + _padded(value)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
