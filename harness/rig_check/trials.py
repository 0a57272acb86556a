"""What one operation came to when it was tried once, judged by what it must come to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from harness.clean import Masker, show
from harness.device.outcomes import Accepted, NoAnswer, Outcome, Refused, Unintelligible

__all__ = ["Answer", "Trial", "judged", "untried"]

SHOWN = 80
"""Most characters of what a device said."""


class Answer(StrEnum):
    """What an operation came to. `FAULT` is the bench's: nothing is known of the device."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    SILENT = "no answer"
    UNINTELLIGIBLE = "unintelligible"
    FAULT = "bench fault"
    UNTRIED = "not tried"


@dataclass(frozen=True, slots=True)
class Trial:
    """One operation of a surface: who did it, what came of it, and whether that is as it must be.

    `good` is None where it was not tried. `detail` is safe to show.
    """

    surface: str
    operation: str
    account: str
    answer: Answer
    detail: str
    good: bool | None = None
    changing: bool = False


def untried(surface: str, operation: str, why: str) -> Trial:
    """Return an operation that was left out."""
    return Trial(surface, operation, "", Answer.UNTRIED, why)


def judged(
    surface: str,
    operation: str,
    outcome: Outcome[object],
    *,
    masker: Masker,
    value: str = "",
    account: str = "",
    wanted: frozenset[Answer] = frozenset({Answer.ACCEPTED}),
    changing: bool = False,
) -> Trial:
    """Return what an operation came to.

    Args:
        surface: where.
        operation: its name.
        outcome: what the device made of it.
        masker: hides credentials before anything is cut or shown.
        value: what an accepted answer is shown as; the device's words, as they came.
        account: who did it.
        wanted: answers that are as they must be.
        changing: whether it may have changed the device.
    """
    match outcome:
        case Accepted():
            answer, said = Answer.ACCEPTED, _shown(value.encode(errors="surrogateescape"), masker)
            said = said or f"{len(outcome.received)} bytes"
        case Refused(reason=reason):
            answer, said = Answer.REFUSED, _shown(reason.encode(errors="surrogateescape"), masker)
        case NoAnswer(reason=reason):
            answer, said = Answer.SILENT, _shown(reason.encode(errors="surrogateescape"), masker)
        case Unintelligible(reason=reason, received=received):
            answer, said = Answer.UNINTELLIGIBLE, _shown(reason.encode(errors="surrogateescape"), masker)
            said += f": {_shown(received, masker)}" if received else ""
    if Answer.REFUSED in wanted and answer is Answer.ACCEPTED and Answer.ACCEPTED not in wanted:
        said += " (it must be refused)"
    return Trial(surface, operation, account, answer, said, answer in wanted, changing)


def _shown(data: bytes, masker: Masker) -> str:
    """Return the beginning of what a device said, on one line."""
    return show(masker.mask_bytes(data), limit=SHOWN).replace("\n", "\\n").replace("\t", "\\t")
