"""What the pump is and what it is doing: identity, clock, data partition and therapy (VP1-ICD §1, §8)."""

from __future__ import annotations

import json
import random
import time
from dataclasses import dataclass, field
from pathlib import Path

TICK_S = 0.1
"""Period of the status and of the therapy step in seconds (VP1-ICD §4.1: 10 Hz)."""

RATE_MIN, RATE_MAX = 1, 12000
"""Rates that can be set, 0.1 ml/h (VP1-ICD §2.5)."""

CAN_KEY = bytes.fromhex("6b1f0c92a7e84d35b8c05f1e93d2647a")
UDS_KEY = bytes.fromhex("c4d81e7730fa4b6295e3a8150d6c7b2f")
"""Keys of the fixture, published in VP1-ICD §4.3: not secret."""

WEAKNESSES = frozenset(
    {
        "bootloader-prompt",
        "can-counter-unchecked",
        "can-no-auth",
        "default-password",
        "lockout-per-connection",
        "modbus-protected-write",
        "no-lockout",
        "uds-constant-seed",
        "uds-memory-bug",
        "undeclared-port",
    }
)
"""Names of VP1-ICD §10."""


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Who the unit says it is."""

    model: str
    serial: str
    version: tuple[int, int, int]

    @property
    def version_text(self) -> str:
        """Version as `major.minor.patch`."""
        return ".".join(map(str, self.version))


GENUINE = Identity(model="VP-1", serial="VP1-000417", version=(1, 0, 0))
OTHER_MODEL = Identity(model="VP-2", serial="VP2-000093", version=(1, 0, 0))
OTHER_UNIT = Identity(model="VP-1", serial="VP1-000418", version=(1, 0, 0))


class Clock:
    """Monotonic seconds and a wall clock that the bench may set."""

    def __init__(self) -> None:
        self._offset = 0.0

    def monotonic(self) -> float:
        """Seconds since an arbitrary start."""
        return time.monotonic()

    def wall(self) -> float:
        """UTC, seconds since 1970."""
        return time.time() + self._offset

    def set_wall(self, seconds: float) -> None:
        """Set the wall clock, seconds since 1970 UTC."""
        self._offset = seconds - time.time()


class VirtualClock(Clock):
    """A clock that only moves when told to; for the rehearsal of a recorded session."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0

    def monotonic(self) -> float:
        """Seconds advanced so far."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._now += seconds


@dataclass
class Data:
    """The data partition: survives a restart of the application and a power cycle.

    Delivered to the bench the pump infuses at 50.0 ml/h (VP1-ICD §8).
    With a `path` it survives the process too.
    """

    path: Path | None = None
    set_rate: int = 500
    infusing: bool = True
    volume_ul: float = 0.0
    alarm_volume: int = 5
    brightness: int = 80
    ward_name: str = "ICU-3"
    highest_rate: int = RATE_MAX
    occlusion_limit: int = 600
    audit: list[str] = field(default_factory=list)
    audit_next: int = 1

    @classmethod
    def load(cls, path: Path | None) -> Data:
        """Read the partition back, or a fresh one where there is none."""
        if path is None or not path.exists():
            return cls(path=path)
        return cls(path=path, **json.loads(path.read_text(encoding="utf-8")))

    def save(self) -> None:
        """Write the partition, if it has a path."""
        if self.path is None:
            return
        content = {name: value for name, value in vars(self).items() if name != "path"}
        scratch = self.path.with_suffix(".new")
        scratch.write_text(json.dumps(content), encoding="utf-8")
        scratch.replace(self.path)


class Therapy:
    """The running infusion: flow with a little noise, volume, uptime."""

    def __init__(self, *, clock: Clock, data: Data, rng: random.Random) -> None:
        self._clock = clock
        self._data = data
        self._rng = rng
        self._started = clock.monotonic()
        self._true_flow = float(self._target)

    @property
    def _target(self) -> int:
        return self._data.set_rate if self._data.infusing else 0

    @property
    def state(self) -> int:
        """0 idle, 1 infusing. The sham has no cause for 2 (alarm)."""
        return int(self._data.infusing)

    @property
    def set_rate(self) -> int:
        """Set rate, 0.1 ml/h."""
        return self._data.set_rate

    @property
    def uptime_ms(self) -> int:
        """Milliseconds since the application started, 32 bit."""
        return int((self._clock.monotonic() - self._started) * 1000) & 0xFFFFFFFF

    @property
    def flow(self) -> int:
        """Measured flow, 0.1 ml/h: the true one with 1 % noise of the drop sensor."""
        return max(0, round(self._true_flow * self._rng.uniform(0.99, 1.01)))

    @property
    def volume_ul(self) -> float:
        """Volume infused, µl; kept over restarts."""
        return self._data.volume_ul

    def tick(self) -> None:
        """One step of 0.1 s: half of what is missing to the set rate, so settled well within 1 s."""
        missing = self._target - self._true_flow
        self._true_flow = float(self._target) if abs(missing) < 0.5 else self._true_flow + missing / 2
        self._data.volume_ul += self._true_flow * 100 / 3600 * TICK_S

    def infuse(self, on: bool) -> None:
        """Start or stop; doing so twice changes nothing."""
        self._data.infusing = on
        self._data.save()

    def set(self, rate: int) -> None:
        """Set the rate, 0.1 ml/h."""
        self._data.set_rate = rate
        self._data.save()
