"""The stall monitor: was the bench itself held up? A timing decision needs to know (rule 5).

Two things are sampled every 20 ms: how late the monitor's own thread is, and how long the threads of an
emulator had to wait for a processor (`run_delay` of /proc/PID/task/TID/schedstat, Linux
Documentation/scheduler/sched-stats). A device that runs on a starved emulator is not slow: it is not running.
A host that was suspended is seen by the clock that goes on meanwhile (CLOCK_BOOTTIME, clock_gettime(2)): the bench's
own, monotonic one stands still, the device does not.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Standstill", "StallMonitor"]

_TICK = 0.02
_NOTEWORTHY = 0.002

STANDSTILL_SECONDS = 3.0
"""From so many seconds on a stall is a standstill: whatever the bench meant to do in time it did not."""

SUSPENDED_SECONDS = 0.05
"""By so much the clock that goes on must run ahead: less may come of reading two clocks one after the other."""


@dataclass(frozen=True, slots=True)
class Standstill:
    """The bench itself stood still for `seconds`, up to `at` (monotonic).

    Suspended means that its own clock stood still too, so that it began where it ended.
    """

    at: float
    seconds: float
    suspended: bool

    @property
    def since(self) -> float:
        """Monotonic instant at which it began."""
        return self.at if self.suspended else self.at - self.seconds

    def __str__(self) -> str:
        if self.suspended:
            return f"the host was suspended for {self.seconds:.1f} s"
        return f"the bench itself stood still for {self.seconds:.1f} s"


def _boot_time() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class StallMonitor:
    """A thread that notes how late it runs, and how long an emulator's threads waited.

    `boot_time` is the clock that goes on while the host is suspended, in seconds.
    """

    def __init__(self, *, boot_time: Callable[[], float] = _boot_time) -> None:
        self._boot_time = boot_time
        self._last = time.monotonic()
        self._ahead = self._read_ahead()
        self._standstills: deque[Standstill] = deque(maxlen=1000)
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
            self._look()  # the thread that asks may be awake before the monitor's own
            late = max((s for at, s in self._late if at >= start and at - s <= end), default=0.0)
            waited: dict[int, float] = {}
            for at, thread, seconds in self._starved:
                if at >= start and at - seconds <= end + _TICK:
                    waited[thread] = waited.get(thread, 0.0) + seconds
        return max(late, max(waited.values(), default=0.0))

    def late(self, start: float, end: float) -> float:
        """Return for how many seconds at most the harness itself was held up between two monotonic instants."""
        with self._lock:
            self._look()
            return max((s for at, s in self._late if at >= start and at - s <= end), default=0.0)

    def standstill(self, start: float) -> Standstill | None:
        """Return the first standstill that ended after the monotonic instant `start`, None if there was none."""
        with self._lock:
            self._look()
            return next((each for each in self._standstills if each.at >= start), None)

    def close(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join(timeout=1)

    def _run(self) -> None:
        while not self._stop.wait(_TICK):
            with self._lock:
                self._look()
                self._sample(self._last)

    def _look(self) -> None:
        """Note how late it is, and whether the host was suspended (lock held)."""
        now, ahead = time.monotonic(), self._read_ahead()
        late, suspended = now - self._last - _TICK, ahead - self._ahead
        self._last, self._ahead = now, max(self._ahead, ahead)
        if late > _NOTEWORTHY * 10:
            self._late.append((now, late))
        if late >= STANDSTILL_SECONDS:
            self._standstills.append(Standstill(now, late, suspended=False))
        if suspended > SUSPENDED_SECONDS:
            self._late.append((now, suspended))
            self._standstills.append(Standstill(now, suspended, suspended=True))

    def _read_ahead(self) -> float:
        """Return by how much the clock that goes on is ahead: read first, so that a pause between both lessens it."""
        boot = self._boot_time()
        return boot - time.monotonic()

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
