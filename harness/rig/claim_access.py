"""Claims about who gets in and what he may do there: accounts, lock-out, log-off, sessions, passwords, roles."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.rig.claim_base import ClaimBase, Pattern

__all__ = [
    "AccountClaim",
    "IdleLogOffClaim",
    "LockoutClaim",
    "PasswordRuleClaim",
    "PermissionClaim",
    "SessionClaim",
]


class AccountClaim(ClaimBase):
    """These accounts exist on these surfaces, and no others; no default, empty or guessable password opens them."""

    type: Literal["accounts"] = "accounts"
    surfaces: tuple[str, ...]
    accounts: tuple[str, ...]
    weak_passwords: tuple[str, ...] = Field(default=(), description="Further passwords the device must refuse")
    unknown_alike: bool = Field(default=False, description="Unknown users are refused as wrong passwords are")


class LockoutClaim(ClaimBase):
    """After `threshold` refused log-ins in a row the account, surface or source is locked for `release` seconds."""

    type: Literal["lockout"] = "lockout"
    surfaces: tuple[str, ...]
    scope: Literal["account", "surface", "source"]
    threshold: int = Field(ge=1, le=100)
    release: float = Field(gt=0, description="Seconds until the lock is released")
    tolerance: float = Field(ge=0, description="Seconds")


class IdleLogOffClaim(ClaimBase):
    """A session is logged off after `after` seconds without input."""

    type: Literal["idle-logoff"] = "idle-logoff"
    surfaces: tuple[str, ...]
    after: float = Field(gt=0, description="Seconds")
    tolerance: float = Field(ge=0, description="Seconds")


class PermissionClaim(ClaimBase):
    """Which role may do which action on these surfaces; what is not listed is refused."""

    type: Literal["permissions"] = "permissions"
    surfaces: tuple[str, ...]
    allowed: dict[str, tuple[str, ...]] = Field(description="Role → actions the role may do")


class SessionClaim(ClaimBase):
    """A session is over, for good, with what is listed; an account has no more sessions than claimed.

    The log-off after idle time is a claim of its own (`idle-logoff`).
    """

    type: Literal["sessions"] = "sessions"
    surfaces: tuple[str, ...]
    ends_with: tuple[
        Literal["log-out", "password", "role", "removal", "restore", "factory-reset", "restart", "reboot"], ...
    ] = Field(description="What ends a session that is open")
    most: int | None = Field(default=None, ge=1, description="Sessions of one account at the same time")
    token: Pattern = Field(default="", description="Regular expression of a whole token")


class PasswordRuleClaim(ClaimBase):
    """Which passwords may be chosen. `{user}` in an example is the account's name, `{present}` its present password."""

    type: Literal["password-rule"] = "password-rule"
    surfaces: tuple[str, ...]
    shortest: int = Field(ge=1, description="Characters")
    longest: int = Field(ge=1, description="Characters")
    accepted: tuple[str, ...] = Field(description="Examples that follow the rule")
    refused: dict[str, str] = Field(description="What is wrong with it → an example that breaks only that rule")
