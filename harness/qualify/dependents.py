"""Which testcases depend on a claim, by the journal of a run on the unchanged files, and which of them noticed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.clean import show_text
from harness.errors import UsageError
from harness.qualify.challenge_result import Result
from harness.report.reading import CaseRecord, RunRecord, read_run
from harness.rig.loading import Rig
from harness.verdict import CheckState, Verdict

__all__ = ["Dependents", "notice", "read_honest"]

WATCHERS = 5
"""Testcases asked about a claim that is watched during all of them."""
WATCHED_S = 5.0
"""Seconds after which a watch has seen what it watches settle: the quickest that last longer are asked first."""
NAMED = 6
"""Testcases named in a row; its trial's folder has all."""


def read_honest(folder: Path, rig: Rig) -> RunRecord:
    """Read a run on the unchanged files.

    Raises:
        UsageError: there is none, it is a challenge itself, flaws were switched on, or the files were others.
    """
    run = read_run(folder)
    hint = "leave out --honest to have the testcases run again"
    if run.challenge:
        raise UsageError("is a challenge itself: a claim was falsified for it", where=str(folder), hint=hint)
    if run.image.get("weaknesses", []) != sorted(getattr(rig.file.control, "weaknesses", ())):
        raise UsageError("other flaws were switched on for it", where=str(folder), hint=hint)
    for what, present in (("rig", rig.sha256), ("device", rig.device_sha256)):
        if run.rig.get(f"{what}_sha256") != present:
            raise UsageError(f"was made with another {what} file", where=str(folder), hint=hint)
    merged = rig.device_merged_sha256
    if run.rig.get("device_merged_sha256", merged) != merged:
        raise UsageError("was made with another base of the device file", where=str(folder), hint=hint)
    return run


@dataclass(frozen=True, slots=True)
class Dependents:
    """The testcases that depend on a claim.

    `able` were a PASS, the quickest first; `broken` a FAIL; `others` neither; `forbidden` and `left` were left out, for
    the rig does not permit their effects, or for another reason.
    """

    able: tuple[CaseRecord, ...]
    broken: tuple[CaseRecord, ...]
    others: tuple[CaseRecord, ...]
    forbidden: tuple[tuple[str, str], ...]
    left: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, run: RunRecord, claim: str) -> Dependents:
        """Find them: what checks the claim, is about it, or was watched for it."""
        quickest = sorted(run.cases, key=lambda case: case.seconds)
        about = [case for case in quickest if claim in case.claims or any(c.claim == claim for c in case.checks)]
        watched = [c for c in quickest if claim in c.watched and c not in about and c.verdict is Verdict.PASS]
        watched.sort(key=lambda case: (case.seconds < WATCHED_S, abs(case.seconds - WATCHED_S)))
        asked = about + watched[:WATCHERS]
        out = [(nodeid, run.left_out[nodeid]) for nodeid, ids in run.left_out_claims.items() if claim in ids]
        forbidden = tuple(each for each in out if each[1] != "deselected")
        return cls(
            able=tuple(case for case in asked if case.verdict is Verdict.PASS),
            broken=tuple(case for case in asked if case.verdict is Verdict.FAIL),
            others=tuple(case for case in asked if case.verdict not in (Verdict.PASS, Verdict.FAIL)),
            forbidden=forbidden,
            left=tuple(each for each in out if each not in forbidden),
        )

    def without_trial(self) -> tuple[Result, str]:
        """Say why nothing can be tried."""
        if self.broken or self.others:
            return Result.NOT_JUDGED, self.named((*self.broken, *self.others))
        if self.forbidden:
            return Result.NOT_PERMITTED, self.not_permitted()
        if self.left:
            return Result.NOT_JUDGED, f"left out were {_listed(nodeid for nodeid, _ in self.left)}"
        return Result.UNCHALLENGED, "no testcase checks it"

    def named(self, cases: Sequence[CaseRecord]) -> str:
        """Name testcases that are no PASS."""
        return f"on the unchanged file {_listed(f'{case.name} is {case.verdict.value}' for case in cases)}"

    def not_permitted(self) -> str:
        """Name what the rig does not permit."""
        names, reasons = _listed(nodeid for nodeid, _ in self.forbidden), {reason for _, reason in self.forbidden}
        return f"{names}: {'; '.join(sorted(reasons))}"

    def beyond(self) -> str:
        """Say which testcases could not be asked."""
        said = [self.named(self.others)] if self.others else []
        said += [f"not permitted {self.not_permitted()}"] if self.forbidden else []
        said += [f"left out {_listed(nodeid for nodeid, _ in self.left)}"] if self.left else []
        return "".join(f"; {each}" for each in said)


def notice(seen: RunRecord, claim: str, asked: Dependents) -> tuple[Result, tuple[str, ...], str]:
    """Return what came of a trial, who noticed, and why nobody did.

    Raises:
        UsageError: it is no challenge of this claim.
    """
    if seen.challenge.get("claim") != claim:
        raise UsageError(f"is no challenge of claim {claim}", where=str(seen.run_dir))
    noticed = [case for case in seen.cases if case.verdict is Verdict.FAIL and _breaks(case, claim)]
    if noticed:
        return Result.NOTICED, tuple(show_text(case.name) for case in noticed), ""
    came = _listed(f"{case.name} {_word(case)}" for case in seen.cases) or "no testcase was run"
    if seen.faults or seen.problems or not any(case.attempts for case in seen.cases):
        faults = "; ".join((*seen.faults, *seen.problems))
        return Result.NOT_JUDGED, (), show_text(f"{came}{': ' if faults else ''}{faults}")
    result = Result.NOT_JUDGED if asked.others else Result.UNCHALLENGED
    return result, (), f"{came}{asked.beyond()}"


def _breaks(case: CaseRecord, claim: str) -> bool:
    return any(check.claim == claim and check.state is CheckState.BROKEN for check in case.checks)


def _word(case: CaseRecord) -> str:
    return "FAIL, but not of this claim" if case.verdict is Verdict.FAIL else case.verdict.value


def _listed(names: Iterable[str]) -> str:
    found = [show_text(name) for name in names]
    more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
    return ", ".join(found[:NAMED]) + more
