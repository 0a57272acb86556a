"""What the pump is and what it is doing: identity, clock, data partition and therapy (VP1-ICD §1, §8)."""

from __future__ import annotations

import copy
import random
import re
import secrets
import time
from collections.abc import Set
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

from medium import Medium
from software import Software
from users import Account, delivered

TICK_S = 0.1
"""Period of the status and of the therapy step in seconds (VP1-ICD §4.1: 10 Hz)."""

AUDIT_KEPT = 1000
"""Records of the audit log at most (VP1-ICD §2.6)."""

RATE_MIN, RATE_MAX = 1, 12000
"""Rates that can be set, 0.1 ml/h (VP1-ICD §2.5)."""

ALARM_TEST = 9
TEST_ALARM_S = 5.0
"""How long the test alarm lasts by itself (VP1-ICD §8.1)."""

CAN_KEY = bytes.fromhex("6b1f0c92a7e84d35b8c05f1e93d2647a")
UDS_KEY = bytes.fromhex("c4d81e7730fa4b6295e3a8150d6c7b2f")
"""Keys of the fixture, published in VP1-ICD §4.3: not secret."""

WEAKNESSES = frozenset(
    {
        "alarm-held-back-during-update",
        "alarm-missing-on-modbus",
        "audit-deletable",
        "audit-drops-earlier-times",
        "audit-forged-by-name",
        "audit-overflow-loses-newest-on-restart",
        "audit-record-missing-for-service",
        "audit-stops-when-full",
        "backup-holds-key",
        "backup-patient-in-clear",
        "bootloader-prompt",
        "busy-bus-keeps-sessions",
        "can-counter-unchecked",
        "can-no-auth",
        "clock-change-unrecorded",
        "default-password",
        "downgrade-check-on-file-name",
        "erase-leaves-store",
        "export-names-patients",
        "export-pseudonym-is-digest",
        "idle-log-off-missing",
        "keys-from-old-keys",
        "keys-from-serial",
        "lockout-per-connection",
        "log-in-time-tells-users",
        "minor-drops-service",
        "modbus-protected-write",
        "no-lockout",
        "password-rule-unchecked",
        "patch-opens-port",
        "path-traversal-in-export-name",
        "patient-in-crash-dump",
        "patients-in-clear-at-rest",
        "restore-foreign-family",
        "restore-order-unchecked",
        "restore-writes-before-verify",
        "role-unchecked",
        "rollback-restores-old-users",
        "self-test-skipped",
        "service-reads-patients",
        "session-limit-missing",
        "setup-code-works-twice",
        "status-gap-during-update",
        "tls-key-shared",
        "token-survives-log-off",
        "token-survives-password-change",
        "two-updates-at-once",
        "uds-constant-seed",
        "uds-memory-bug",
        "undeclared-port",
        "update-by-any-role",
        "update-compatible-unchecked",
        "update-loses-settings",
        "update-signature-unchecked",
        "user-enumeration",
        "version-differs",
        "version-stays-old-on-one-surface-after-update",
    }
)
"""Names of VP1-ICD §10."""


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Who the unit says it is."""

    model: str
    serial: str
    version: tuple[int, int, int]
    slot: str = "A"

    @property
    def version_text(self) -> str:
        """Version as `major.minor.patch`."""
        return ".".join(map(str, self.version))


GENUINE = Identity(model="VP-1", serial="VP1-000417", version=(1, 0, 0))
OTHER_MODEL = Identity(model="VP-2", serial="VP2-000093", version=(1, 0, 0))
OTHER_UNIT = Identity(model="VP-1", serial="VP1-000418", version=(1, 0, 0))


UTC_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
"""How the pump writes a time (VP1-ICD §2.6)."""


def in_utc(seconds: float) -> str:
    """A time, seconds since 1970, as the pump writes it."""
    return datetime.fromtimestamp(seconds, UTC).strftime(UTC_FORMAT)


class Clock:
    """Monotonic seconds, and a wall clock that users may set until the next restart.

    The clock chip, whose time it has after a restart, is the bench's to set.
    """

    def __init__(self) -> None:
        self._chip = 0.0
        self._set_off = 0.0

    def monotonic(self) -> float:
        """Seconds since an arbitrary start."""
        return time.monotonic()

    def wall(self) -> float:
        """UTC, seconds since 1970."""
        return time.time() + self._chip + self._set_off

    def set_wall(self, seconds: float) -> None:
        """Set the wall clock, seconds since 1970 UTC."""
        self._set_off += seconds - self.wall()

    def set_chip(self, seconds: float) -> None:
        """Set the clock chip, and the wall clock with it."""
        self._chip = seconds - time.time()

    def restart(self) -> None:
        """The wall clock begins with the time of the clock chip again."""
        self._set_off = 0.0


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

    Delivered to the bench the pump infuses at 50.0 ml/h (VP1-ICD §8) and has the accounts of §2.2; without an account
    it is in first use (§14). `keys` are the unit's own TLS and SSH keys in PEM, empty for those it was delivered with.
    With a `path` the partition survives the process too.
    """

    path: Path | None = None
    set_rate: int = 500
    infusing: bool = True
    volume_ul: float = 0.0
    brightness: int = 80
    highest_rate: int = RATE_MAX
    occlusion_limit: int = 600
    audit: list[str] = field(default_factory=list)
    audit_next: int = 1
    alarm_volume: int = 5
    ward_name: str = "ICU-3"
    users: dict[str, Account] = field(default_factory=delivered)
    patients: list[dict[str, str]] = field(default_factory=list)
    keys: dict[str, str] = field(default_factory=dict)
    before_update: dict[str, Any] = field(default_factory=dict)
    software: Software = field(default_factory=Software)
    salt: bytes = field(default_factory=lambda: secrets.token_bytes(16))
    leftover: bytes = b""
    weaknesses: Set[str] = frozenset()

    SECRET: ClassVar = ("alarm_volume", "ward_name", "users", "patients", "keys", "before_update")
    """What the medium shows only sealed (VP1-ICD §11.5)."""

    @classmethod
    def load(cls, path: Path | None, weaknesses: Set[str]) -> Data:
        """Read the partition back, or a fresh one where there is none."""
        if path is None or not path.exists():
            return cls(path=path, weaknesses=weaknesses)
        medium = Medium.read(path)
        content = medium.plain | medium.secret
        lost = content["audit"][AUDIT_KEPT:] if "audit-overflow-loses-newest-on-restart" in weaknesses else []
        if lost:
            del content["audit"][AUDIT_KEPT:]
            content["audit_next"] -= len(lost)
        content["software"] = Software(**content["software"])
        return cls(path=path, weaknesses=weaknesses, salt=medium.salt, leftover=medium.leftover, **content)

    def save(self) -> None:
        """Write the partition, if it has a path."""
        if self.path is not None:
            self.medium().write(self.path)

    def configure(self, name: str, value: str) -> bool:
        """Change one setting (VP1-ICD §2.5); False where the value or the name is none."""
        if name == "alarm_volume" and re.fullmatch(r"[1-9]|10", value):
            self.alarm_volume = int(value)
        elif name == "ward_name" and re.fullmatch(r"[!-~]{1,24}", value):
            self.ward_name = value
        else:
            return False
        self.save()
        return True

    def medium(self) -> Medium:
        """The partition as it goes to its medium."""
        apart = ("path", "salt", "leftover", "weaknesses")
        kept = {name: value for name, value in vars(self).items() if name not in apart}
        kept["software"] = vars(self.software)
        secret = {name: kept.pop(name) for name in self.SECRET}
        if "patients-in-clear-at-rest" in self.weaknesses:
            kept["patients"] = self.patients
        return Medium(plain=kept, secret=secret, salt=self.salt, leftover=self.leftover)

    def erased(self, *, keys: dict[str, str]) -> Data:
        """What a factory reset leaves: nothing but the software, and keys that are new (VP1-ICD §14)."""
        fresh = Data(path=self.path, weaknesses=self.weaknesses, infusing=False, ward_name="ward", users={}, keys=keys)
        fresh.software = self.software
        fresh.software.forget()
        if "erase-leaves-store" in self.weaknesses:
            fresh.patients, fresh.keys, fresh.leftover = self.patients, self.keys, self.medium().image()
        return fresh

    def keep_as_it_is(self) -> None:
        """Remember users, patients and configuration, for a roll-back that brings them back (a weakness)."""
        names = ("users", "patients", "alarm_volume", "ward_name")
        self.before_update = copy.deepcopy({name: getattr(self, name) for name in names})

    def take_back(self) -> None:
        """Bring back what was remembered."""
        for name, value in self.before_update.items():
            setattr(self, name, value)
        self.before_update = {}

    @property
    def first_use(self) -> bool:
        """Nobody has set the pump up yet."""
        return not self.users


class Therapy:
    """The running infusion: flow with a little noise, volume, uptime."""

    def __init__(self, *, clock: Clock, data: Data, rng: random.Random) -> None:
        self._clock = clock
        self._data = data
        self._rng = rng
        self._started = clock.monotonic()
        self._true_flow = float(self._target)
        self._tested: float | None = None
        self.alarm_held = False

    @property
    def _target(self) -> int:
        return self._data.set_rate if self._data.infusing else 0

    @property
    def state(self) -> int:
        """0 idle, 1 infusing. The sham has no cause for 2 (alarm)."""
        return int(self._data.infusing)

    @property
    def alarm(self) -> int:
        """Number of the alarm that is raised, 0 for none."""
        raised = self._tested is not None and self._clock.monotonic() - self._tested < TEST_ALARM_S
        return ALARM_TEST if raised else 0

    def test_alarm(self, *, held: bool) -> None:
        """Raise the test alarm, or hold it back (a weakness); the therapy goes on."""
        self.alarm_held = held
        self._tested = None if held else self._clock.monotonic()

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
        """Start or stop; doing so twice changes nothing but that the test alarm ends."""
        self._tested, self.alarm_held = None, False
        self._data.infusing = on
        self._data.save()

    def set(self, rate: int) -> None:
        """Set the rate, 0.1 ml/h."""
        self._data.set_rate = rate
        self._data.save()
