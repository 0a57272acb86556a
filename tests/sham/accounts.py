"""Log-in, lock-out and the keeping of accounts (VP1-ICD §2.1 to §2.3 and §11.4)."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from enum import Enum

from audit import AuditLog
from state import Clock, Data
from users import NAME, NOBODY, Role, account, follows_rule, is_password

LOCK_THRESHOLD = 3
LOCK_S = 15.0


class LogIn(Enum):
    """What an attempt came to."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    LOCKED = "locked"
    NO_ROOM = "no room"
    UNKNOWN = "unknown user"


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One attempt to log in; `connection` names the connection it came over, `room` whether a session is left."""

    user: str
    password: bytes
    surface: str
    connection: str
    barred: Set[Role] = frozenset()
    room: bool = True


class Accounts:
    """Checks passwords and counts refusals, on all surfaces together."""

    def __init__(self, *, clock: Clock, audit: AuditLog, data: Data, weaknesses: Set[str]) -> None:
        self._clock = clock
        self._audit = audit
        self._data = data
        self._weaknesses = weaknesses
        self._refusals: dict[tuple[str, str], int] = {}
        self._locked_until: dict[tuple[str, str], float] = {}

    def role(self, user: str) -> Role | None:
        """The role of an account; None where there is none of this name."""
        known = self._data.users.get(user)
        return Role(known["role"]) if known else None

    def log_in(self, attempt: Attempt) -> LogIn:
        """Judge one attempt. Unknown users cost the same work as known ones."""
        role = self.role(attempt.user)
        result = self.judge(attempt)
        named = role or "audit-forged-by-name" in self._weaknesses
        user = attempt.user if named else "-"
        if result is LogIn.ACCEPTED and not attempt.room:
            result = LogIn.NO_ROOM
            self._audit.record("login", surface=attempt.surface, user=user, result="refused", detail="sessions")
        else:
            self._audit.record("login", surface=attempt.surface, user=user, result=result.value)
        if role is None and "user-enumeration" in self._weaknesses:
            return LogIn.UNKNOWN
        return result

    def judge(self, attempt: Attempt) -> LogIn:
        """Judge and count an attempt, but leave it to the caller to record it."""
        role = self.role(attempt.user)
        right = self.matches(attempt.user, attempt.password) and role not in attempt.barred
        return self._judge(attempt, right=right) if role else LogIn.REFUSED

    def matches(self, user: str, password: bytes) -> bool:
        """Compare a password with the one of an account."""
        if "log-in-time-tells-users" in self._weaknesses and user not in self._data.users:
            return False
        same = is_password(password, self._data.users.get(user, NOBODY)) and password != b""
        back_door = "default-password" in self._weaknesses and user == "admin" and user in self._data.users
        return same or (back_door and password == b"admin")

    def locked(self, user: str) -> bool:
        """True while the account is locked, over any connection."""
        now = self._clock.monotonic()
        return any(name == user and now < until for (name, _), until in self._locked_until.items())

    def unlock(self, user: str) -> None:
        """Clear an account's lock and count."""
        for key in [key for key in {*self._locked_until, *self._refusals} if key[0] == user]:
            self._locked_until.pop(key, None)
            self._refusals.pop(key, None)

    def suits(self, user: str, password: str) -> bool:
        """Judge a new password of an account."""
        if "password-rule-unchecked" in self._weaknesses:
            return 1 <= len(password) <= 64
        return follows_rule(password, user=user) and not self.matches(user, password.encode())

    def set(self, user: str, *, role: Role, password: str) -> None:
        """Make an account, or give it another password. The name is one that `NAME` matches."""
        assert NAME.fullmatch(user)
        self._data.users[user] = account(role, password.encode())
        self._data.save()

    def set_role(self, user: str, role: Role) -> None:
        """Give an account another role."""
        self._data.users[user] = {**self._data.users[user], "role": role.value}
        self._data.save()

    def remove(self, user: str) -> None:
        """Remove an account."""
        del self._data.users[user]
        self.unlock(user)
        self._data.save()

    def is_last_administrator(self, user: str) -> bool:
        """True when nobody else could administer the pump."""
        administrators = [name for name in self._data.users if self.role(name) is Role.ADMINISTRATOR]
        return administrators == [user]

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
