"""The stall monitor: was the bench itself held up? A timing decision needs to know (rule 5).

Two things are sampled every 20 ms: how late the monitor's own thread is, and how long the threads of an
emulator had to wait for a processor (`run_delay` of /proc/PID/task/TID/schedstat, Linux
Documentation/scheduler/sched-stats). A device that runs on a starved emulator is not slow: it is not running.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from pathlib import Path

__all__ = ["StallMonitor"]

_TICK = 0.02
_NOTEWORTHY = 0.002


class StallMonitor:
    """A thread that notes how late it runs, and how long an emulator's threads waited."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._late: deque[tuple[float, float]] = deque(maxlen=20000)
        self._starved: deque[tuple[float, int, float]] = deque(maxlen=60000)
        self._tasks: Path | None = None
        self._before: dict[int, int] = {}
        self._thread = threading.Thread(target=self._run, name="stall-monitor", daemon=True)
        self._thread.start()

    def watch_process(self, pid: int | None) -> None:
        """Sample the threads of process `pid` from now on, the emulator behind an emulated device."""
        with self._lock:
            self._tasks = Path(f"/proc/{pid}/task") if pid else None
            self._before = {}

    def worst(self, start: float, end: float) -> float:
        """Return for how many seconds the bench was held up between two monotonic instants.

        The longer of: the monitor's own worst lateness, and the whole time that the most starved thread of
        the emulator waited.
        """
        with self._lock:
            late = max((s for at, s in self._late if at >= start and at - s <= end), default=0.0)
            waited: dict[int, float] = {}
            for at, thread, seconds in self._starved:
                if at >= start and at - seconds <= end + _TICK:
                    waited[thread] = waited.get(thread, 0.0) + seconds
        return max(late, max(waited.values(), default=0.0))

    def close(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join(timeout=1)

    def _run(self) -> None:
        last = time.monotonic()
        while not self._stop.wait(_TICK):
            now = time.monotonic()
            with self._lock:
                if now - last - _TICK > _NOTEWORTHY * 10:
                    self._late.append((now, now - last - _TICK))
                self._sample(now)
            last = now

    def _sample(self, now: float) -> None:
        if self._tasks is None:
            return
        try:
            threads = [int(entry.name) for entry in self._tasks.iterdir()]
        except OSError:
            return
        for thread in threads:
            try:
                waited = int((self._tasks / str(thread) / "schedstat").read_text().split()[1])
            except (OSError, ValueError, IndexError):
                continue
            before = self._before.get(thread, waited)
            self._before[thread] = waited
            seconds = (waited - before) / 1e9
            if seconds > _NOTEWORTHY:
                self._starved.append((now, thread, seconds))
