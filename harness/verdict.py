"""Verdicts: computed from journalled checks, and the one table that turns an exception into a verdict.

Read `TABLE` from top to bottom; the first row whose exception fits decides. Nothing else in Proofrig maps
exceptions to verdicts, pytest outcomes, Allure statuses or exit codes.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from harness.errors import BenchFault, UsageError

__all__ = [
    "BenchStalled",
    "EXIT_FAIL",
    "EXIT_INCONCLUSIVE",
    "EXIT_NOT_RUN",
    "EXIT_USAGE",
    "TABLE",
    "Check",
    "CheckState",
    "ClaimBroken",
    "NotApplicable",
    "Row",
    "SilenceAfterAttack",
    "Undecided",
    "Verdict",
    "decide",
    "exit_code",
    "judge",
]


class Verdict(StrEnum):
    """What a testcase came to."""

    PASS = "PASS"
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"
    NOT_APPLICABLE = "NOT APPLICABLE"
    NOT_RUN = "NOT RUN"


class CheckState(StrEnum):
    """What one check came to."""

    HELD = "held"
    BROKEN = "broken"
    UNDECIDED = "undecided"


class ClaimBroken(AssertionError):
    """The device broke a claim. The only exception that is a FAIL."""


class Undecided(Exception):
    """Bench, harness or procedure could not decide."""


class SilenceAfterAttack(Undecided):
    """The attacked surface is silent while the bench is healthy: repeated once on a fresh baseline (rule 4).

    `claim` is the one that is broken if it is silent again.
    """

    def __init__(self, message: str = "", *, claim: str = "BASE-NO-CRASH") -> None:
        super().__init__(message)
        self.claim = claim


class BenchStalled(Undecided):
    """Only a stall of the bench itself kept checks from being decided: repeated at most twice (rule 9)."""


class NotApplicable(Exception):
    """The device file says, with a reason, that the testcase does not apply."""


@dataclass(frozen=True, slots=True)
class Check:
    """One typed, journalled comparison. `claim` is what it verifies, empty for a control of the procedure.

    `at` is the monotonic instant, in seconds, at which what it speaks of was seen.
    """

    title: str
    state: CheckState
    expected: str
    observed: str
    claim: str = ""
    source: str = ""
    repeat: str = ""
    stalled: bool = False
    at: float = field(default_factory=time.monotonic, compare=False)


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table: what an exception means everywhere."""

    exception: type[BaseException] | None
    verdict: Verdict
    pytest_outcome: str
    allure_status: str
    exit_code: int


EXIT_USAGE = 4  # pytest's own code for a usage error
EXIT_FAIL = 10
EXIT_INCONCLUSIVE = 11
EXIT_NOT_RUN = 12

TABLE: tuple[Row, ...] = (
    Row(None, Verdict.PASS, "passed", "passed", 0),
    Row(ClaimBroken, Verdict.FAIL, "failed", "failed", EXIT_FAIL),
    Row(NotApplicable, Verdict.NOT_APPLICABLE, "skipped", "skipped", 0),
    Row(Undecided, Verdict.INCONCLUSIVE, "failed", "broken", EXIT_INCONCLUSIVE),
    Row(BenchFault, Verdict.INCONCLUSIVE, "failed", "broken", EXIT_INCONCLUSIVE),
    Row(UsageError, Verdict.INCONCLUSIVE, "failed", "broken", EXIT_INCONCLUSIVE),
    Row(KeyboardInterrupt, Verdict.NOT_RUN, "failed", "unknown", EXIT_NOT_RUN),
    # A bare AssertionError or any other exception is a mistake of the testcase, never the device's.
    Row(BaseException, Verdict.INCONCLUSIVE, "failed", "broken", EXIT_INCONCLUSIVE),
)


def judge(exception: BaseException | None) -> Row:
    """Return the row of `TABLE` that decides about `exception` (`None`: the testcase ended without one)."""
    if exception is None:
        return TABLE[0]
    return next(row for row in TABLE[1:] if row.exception and isinstance(exception, row.exception))


def decide(checks: Iterable[Check]) -> BaseException | None:
    """Return what the checks of a testcase come to: nothing (all held), `ClaimBroken` or `Undecided`.

    A broken claim outweighs an undecided check. No check with a claim is undecided: a pass has to be earned.
    """
    checks = list(checks)
    broken = [check for check in checks if check.state is CheckState.BROKEN]
    if broken:
        return ClaimBroken("\n".join(_sentence(check) for check in broken))
    undecided = [check for check in checks if check.state is CheckState.UNDECIDED]
    if undecided:
        kind = BenchStalled if all(check.stalled for check in undecided) else Undecided
        return kind("\n".join(_sentence(check) for check in undecided))
    if not any(check.claim for check in checks):
        return Undecided("no claim was checked")
    return None


def exit_code(verdicts: Iterable[Verdict]) -> int:
    """Return the exit code of a run: FAIL outweighs INCONCLUSIVE outweighs NOT RUN; 0 when none of them occurred."""
    seen = set(verdicts)
    for verdict, code in (
        (Verdict.FAIL, EXIT_FAIL),
        (Verdict.INCONCLUSIVE, EXIT_INCONCLUSIVE),
        (Verdict.NOT_RUN, EXIT_NOT_RUN),
    ):
        if verdict in seen:
            return code
    return 0


def _sentence(check: Check) -> str:
    claim = f"{check.claim} ({check.source}): " if check.claim else ""
    again = f"\n    again: {check.repeat}" if check.repeat else ""
    return f"{claim}{check.title}\n    expected: {check.expected}\n    observed: {check.observed}{again}"
