"""A tap for requests with a bulky body: length and hash are recorded in its place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from harness.capture import Direction, Tap

__all__ = ["BulkTap"]


class BulkTap:
    """A tap that records on a channel of its own, and a bulky body by length and hash."""

    def __init__(self, tap: Tap, *, channel: int) -> None:
        self._tap = tap
        self._number = channel
        self._bulky = False
        self._count = 0

    def record(self, direction: Direction, data: bytes, *, channel: int = 0) -> None:
        """Record `data`, unless it is part of a bulky body."""
        if self._bulky and direction is Direction.TO_DEVICE:
            self._count += len(data)
        else:
            self._tap.record(direction, data, channel=self._number)

    @contextmanager
    def bulk(self, instead: bytes) -> Iterator[None]:
        """Record `instead` of what is sent in a block, and how much that was; empty records it as it is."""
        if not instead:
            yield
            return
        self._tap.record(Direction.TO_DEVICE, instead, channel=self._number)
        self._bulky, self._count = True, 0
        try:
            yield
        finally:
            self._bulky = False
            self._tap.record(Direction.TO_DEVICE, f"[{self._count} bytes sent]".encode(), channel=self._number)
