"""A console at several speeds: what it prints after a carriage return, and at which speed that can be read."""

from __future__ import annotations

from collections.abc import Sequence

from harness.capture import Tap
from harness.device_init.seen import ConsoleSeen, said
from harness.errors import BenchFault, LinkLost
from harness.links.serial import open_serial

__all__ = ["scan_console"]

READABLE = 0.9
"""Least part of what arrives that must be text."""
MOST_LINES = 12


def scan_console(port: str, *, baudrates: Sequence[int], timeout: float, tap: Tap) -> ConsoleSeen:
    """Send a carriage return at each speed, until an answer can be read.

    Raises:
        UsageError, BenchFault: as `open_serial`.
    """
    best: tuple[float, int, bytes] = (0.0, 0, b"")
    for number, baudrate in enumerate(baudrates):
        printed = _printed(port, baudrate, timeout=timeout, tap=tap)
        if _readable(printed) > best[0]:
            best = (_readable(printed), number, printed)
        if best[0] > READABLE:
            break
    share, number, printed = best
    if share < READABLE:
        return ConsoleSeen(None)
    lines = [said(line) for line in printed.replace(b"\r", b"\n").split(b"\n") if line.strip()]
    return ConsoleSeen(baudrates[number], tuple(lines[-MOST_LINES:]), lines[-1] if lines else "")


def _printed(port: str, baudrate: int, *, timeout: float, tap: Tap) -> bytes:
    link = open_serial(port, baudrate=baudrate, name=f"console {port}", tap=tap)
    try:
        mark = link.mark()
        link.send(b"\r", timeout=timeout)
        link.read_at_least(1, since=mark, timeout=timeout)
        link.wait_quiet(0.5, timeout)
        return link.read_since(0)
    except LinkLost as lost:
        raise BenchFault(f"console {port}: {lost.message}", hint="is the adapter plugged in?") from lost
    finally:
        link.close()


def _readable(printed: bytes) -> float:
    """Return which part of some bytes is text."""
    return sum(byte in b"\r\n\t\x1b" or 0x20 <= byte < 0x7F for byte in printed) / len(printed) if printed else 0.0
