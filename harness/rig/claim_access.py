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
    surfaces: tuple[str, ...] = Field(description="Surfaces it holds for")
    accounts: tuple[str, ...] = Field(description="All account names")
    weak_passwords: tuple[str, ...] = Field(default=(), description="Further passwords that must be refused")
    unknown_alike: bool = Field(default=False, description="An unknown user is refused as a wrong password is")


class LockoutClaim(ClaimBase):
    """After `threshold` refused log-ins in a row the account, surface or source is locked for `release` seconds."""

    type: Literal["lockout"] = "lockout"
    surfaces: tuple[str, ...] = Field(description="Surfaces it holds for")
    scope: Literal["account", "surface", "source"] = Field(description="What is locked")
    threshold: int = Field(ge=1, le=100, description="Refused log-ins in a row until the lock")
    release: float = Field(gt=0, description="Seconds until it is released, whether or not anybody tries meanwhile")
    tolerance: float = Field(ge=0, description="Seconds")


class IdleLogOffClaim(ClaimBase):
    """A session is logged off after `after` seconds without input; what is asked on other links is none."""

    type: Literal["idle-logoff"] = "idle-logoff"
    surfaces: tuple[str, ...] = Field(description="Surfaces it holds for")
    after: float = Field(gt=0, description="Seconds without input")
    tolerance: float = Field(ge=0, description="Seconds")


class PermissionClaim(ClaimBase):
    """Which role may do which action on these surfaces; what is not listed is refused."""

    type: Literal["permissions"] = "permissions"
    surfaces: tuple[str, ...] = Field(description="Surfaces it holds for")
    allowed: dict[str, tuple[str, ...]] = Field(
        description="Role → actions the role may do; what is not listed must be refused"
    )


class SessionClaim(ClaimBase):
    """A session is over, for good, with what is listed; an account has no more sessions than claimed.

    The log-off after idle time is a claim of its own (`idle-logoff`).
    """

    type: Literal["sessions"] = "sessions"
    surfaces: tuple[str, ...] = Field(description="Surfaces it holds for")
    ends_with: tuple[
        Literal["log-out", "password", "role", "removal", "restore", "factory-reset", "restart", "reboot"], ...
    ] = Field(description="What ends a session that is open")
    most: int | None = Field(default=None, ge=1, description="Sessions of one account at the same time")
    token: Pattern = Field(default="", description="Regular expression of a whole token")


class PasswordRuleClaim(ClaimBase):
    """Which passwords may be chosen. `{user}` in an example is the account's name, `{present}` its present password."""

    type: Literal["password-rule"] = "password-rule"
    surfaces: tuple[str, ...] = Field(description="Surfaces it holds for")
    shortest: int = Field(ge=1, description="Characters")
    longest: int = Field(ge=1, description="Characters")
    accepted: tuple[str, ...] = Field(description="Examples that follow the rule")
    refused: dict[str, str] = Field(description="What is wrong → example that breaks only that rule")
