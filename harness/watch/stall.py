"""The stall monitor: was the bench itself held up? A timing decision needs to know (rule 5)."""

from __future__ import annotations

import threading
import time
from collections import deque

__all__ = ["StallMonitor"]

_TICK = 0.02
_NOTEWORTHY = 0.02


class StallMonitor:
    """A thread that wants to run every 20 ms and notes how late it was."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._stalls: deque[tuple[float, float]] = deque(maxlen=10000)
        self._thread = threading.Thread(target=self._run, name="stall-monitor", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        last = time.monotonic()
        while not self._stop.wait(_TICK):
            now = time.monotonic()
            late = now - last - _TICK
            if late > _NOTEWORTHY:
                self._stalls.append((now, late))
            last = now

    def worst(self, start: float, end: float) -> float:
        """Return the longest stall in seconds that touched the monotonic interval from `start` to `end`."""
        return max((late for at, late in list(self._stalls) if at >= start and at - late <= end), default=0.0)

    def close(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join(timeout=1)
