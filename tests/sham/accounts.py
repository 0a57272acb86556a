"""Accounts, roles, log-in and lock-out (VP1-ICD §2.1 to §2.3)."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Set
from dataclasses import dataclass
from enum import Enum

from audit import AuditLog
from state import Clock

LOCK_THRESHOLD = 3
LOCK_S = 15.0


class Role(Enum):
    """Roles of VP1-ICD §2.2."""

    OPERATOR = "operator"
    SERVICE = "service"
    ADMINISTRATOR = "administrator"


class LogIn(Enum):
    """What an attempt came to; the value is the audit log's word."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    LOCKED = "locked"


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One attempt to log in; `connection` names the connection it came over."""

    user: str
    password: bytes
    surface: str
    connection: str
    barred: Set[Role] = frozenset()


ROLES = {"operator": Role.OPERATOR, "service": Role.SERVICE, "admin": Role.ADMINISTRATOR}
PASSWORDS = {"operator": b"Drip-7-Harbour", "service": b"Valve-31-Copper", "admin": b"Summit-52-Lantern"}
"""As delivered to the bench (VP1-ICD §2.2): published, not secret."""


def _digest(password: bytes) -> bytes:
    return hashlib.pbkdf2_hmac("sha256", password, b"VP1-000417", 1000)


class Accounts:
    """Checks passwords and counts refusals, on all surfaces together."""

    def __init__(self, *, clock: Clock, audit: AuditLog, weaknesses: Set[str]) -> None:
        self._clock = clock
        self._audit = audit
        self._weaknesses = weaknesses
        self._digests = {name: _digest(password) for name, password in PASSWORDS.items()}
        self._refusals: dict[tuple[str, str], int] = {}
        self._locked_until: dict[tuple[str, str], float] = {}

    def log_in(self, attempt: Attempt) -> LogIn:
        """Judge one attempt. Unknown users cost the same work as known ones."""
        known = attempt.user in ROLES
        right = self._matches(attempt) and known
        if known and ROLES[attempt.user] in attempt.barred:
            right = False
        result = self._judge(attempt, right=right) if known else LogIn.REFUSED
        user = attempt.user if known else "-"
        self._audit.record("login", surface=attempt.surface, user=user, result=result.value)
        return result

    def unlock(self, user: str) -> None:
        """Clear an account's lock and count."""
        for key in [key for key in {*self._locked_until, *self._refusals} if key[0] == user]:
            self._locked_until.pop(key, None)
            self._refusals.pop(key, None)

    def _matches(self, attempt: Attempt) -> bool:
        expected = self._digests.get(attempt.user, bytes(32))
        same = hmac.compare_digest(_digest(attempt.password), expected) and attempt.password != b""
        back_door = "default-password" in self._weaknesses and attempt.user == "admin"
        return same or (back_door and attempt.password == b"admin")

    def _judge(self, attempt: Attempt, *, right: bool) -> LogIn:
        scope = attempt.connection if "lockout-per-connection" in self._weaknesses else "*"
        key = (attempt.user, scope)
        now = self._clock.monotonic()
        if now < self._locked_until.get(key, now):
            return LogIn.LOCKED
        if self._locked_until.pop(key, None) is not None:
            self._refusals.pop(key, None)
        if right:
            self._refusals.pop(key, None)
            return LogIn.ACCEPTED
        if "no-lockout" not in self._weaknesses:
            self._refusals[key] = self._refusals.get(key, 0) + 1
            if self._refusals[key] >= LOCK_THRESHOLD:
                self._locked_until[key] = now + LOCK_S
        return LogIn.REFUSED
