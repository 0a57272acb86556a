"""Outcomes: what an operation came to, with the bytes that say so.

"Not accepted" never means refused: what is neither is `Unintelligible`, and silence is `NoAnswer`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Literal, TypeAlias, TypeVar

__all__ = ["Accepted", "NoAnswer", "Outcome", "Refused", "SessionRefused", "Unintelligible", "name_of"]

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Accepted(Generic[T_co]):
    """The device did it and said so; `value` is what it answered, decoded."""

    value: T_co
    sent: bytes = b""
    received: bytes = b""


@dataclass(frozen=True, slots=True)
class Refused:
    """The device understood and said no; `code` is the protocol's own number where it has one."""

    reason: str
    code: int | None = None
    sent: bytes = b""
    received: bytes = b""


@dataclass(frozen=True, slots=True)
class SessionRefused(Refused):
    """A refusal where one for the role (`denied`) and one for want of a log-in (`over`) can be told apart."""

    kind: Literal["refused", "denied", "over"] = "refused"


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """Nothing decodable came within the deadline, or no connection could be made (`reason`)."""

    reason: str = "silence"
    sent: bytes = b""
    received: bytes = b""


@dataclass(frozen=True, slots=True)
class Unintelligible:
    """Something came that is neither an acceptance nor a refusal."""

    reason: str = "neither accepted nor refused"
    sent: bytes = b""
    received: bytes = b""


Outcome: TypeAlias = Accepted[T] | Refused | NoAnswer | Unintelligible


def name_of(outcome: Accepted[object] | Refused | NoAnswer | Unintelligible) -> str:
    """Return an outcome in a few words, for checks and reports."""
    match outcome:
        case Accepted():
            return "accepted"
        case Refused(reason=reason):
            return f"refused ({reason})"
        case NoAnswer(reason=reason):
            return f"no answer ({reason})"
        case Unintelligible(reason=reason):
            return f"unintelligible ({reason})"
