"""What a step of SSH can come to, as values: none of these is an error of the bench."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SshAccepted", "SshHostKeyMismatch", "SshNoConnection", "SshOutcome", "SshRefused"]


@dataclass(frozen=True, slots=True)
class SshAccepted:
    """The device accepted `what` (an authentication method, a request)."""

    what: str


@dataclass(frozen=True, slots=True)
class SshRefused:
    """The device refused `method` in so many words; `allowed` are the methods it names instead."""

    method: str
    allowed: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class SshNoConnection:
    """There is no connection, or no longer one: refused, unreachable, mute, hung up, no common algorithm."""

    reason: str


@dataclass(frozen=True, slots=True)
class SshHostKeyMismatch:
    """The device showed another host key than the pinned one; `seen` is its line."""

    seen: str


SshOutcome = SshAccepted | SshRefused | SshNoConnection | None
"""What an attempt came to; None is silence."""
