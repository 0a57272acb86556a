"""Clause coverage: what a run's testcases came to, laid out guideline → clause → testcase.

Pure data from a registry and results; a report renders it. A clause never gets a verdict of its own: its roll-up
counts claims and leaves the judgement to the reviewer. What counts as a claim met follows from the verdict:

    PASS                      checks as they are
    FAIL                      checks as they are, at least one not met (a watch may break without a check)
    INCONCLUSIVE              held checks are undecided too: a pass was not earned; at least one undecided
    NOT APPLICABLE, NOT RUN   none; the testcases are counted by name of the verdict
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from harness.clauses.model import Clause, Confidence, Document, Registry, Strength, Tag
from harness.errors import UsageError

__all__ = [
    "VERDICTS",
    "CheckCounts",
    "ClauseCoverage",
    "ClauseResult",
    "DocumentCoverage",
    "TaggedResult",
    "Verdict",
    "cover",
]

Verdict = Literal["PASS", "FAIL", "INCONCLUSIVE", "NOT APPLICABLE", "NOT RUN"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)

_RANK = {Confidence.HIGH: 3, Confidence.MEDIUM: 2, Confidence.LOW: 1, None: 0}


@dataclass(frozen=True, kw_only=True)
class CheckCounts:
    """Numbers of checks of a testcase, by what they came to."""

    held: int = 0
    broken: int = 0
    undecided: int = 0

    def __post_init__(self) -> None:
        if min(self.held, self.broken, self.undecided) < 0:
            raise UsageError(f"a number of checks is negative: {self}")

    def __add__(self, other: CheckCounts) -> CheckCounts:
        return CheckCounts(
            held=self.held + other.held,
            broken=self.broken + other.broken,
            undecided=self.undecided + other.undecided,
        )


@dataclass(frozen=True, kw_only=True)
class TaggedResult:
    """One testcase of a run, as the journal has it. `method` selects the cross-walk's links by method."""

    nodeid: str
    title: str
    verdict: Verdict
    checks: CheckCounts
    tags: tuple[Tag, ...]
    method: str | None = None

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise UsageError(f"{self.nodeid}: unknown verdict {self.verdict!r}", hint=f"one of {', '.join(VERDICTS)}")


@dataclass(frozen=True, kw_only=True)
class ClauseResult:
    """One testcase under one clause.

    `derived` is true where the cross-walk, not the testcase, brought it here: then `via` names the tagged clauses
    it came from and `confidence` is that of the surest link (None: not rated).
    """

    nodeid: str
    title: str
    verdict: Verdict
    checks: CheckCounts
    strength: Strength
    derived: bool = False
    confidence: Confidence | None = None
    via: tuple[str, ...] = ()

    @property
    def claims(self) -> CheckCounts:
        """The checks that may be counted as claims, given the verdict (see the module)."""
        match self.verdict:
            case "PASS":
                return self.checks
            case "FAIL":
                return CheckCounts(
                    held=self.checks.held,
                    broken=max(1, self.checks.broken),
                    undecided=self.checks.undecided,
                )
            case "INCONCLUSIVE":
                return CheckCounts(
                    broken=self.checks.broken,
                    undecided=max(1, self.checks.undecided + self.checks.held),
                )
            case _:
                return CheckCounts()


@dataclass(frozen=True, kw_only=True)
class ClauseCoverage:
    """A clause and its testcases, direct ones first. `successor` and `predecessors` go side by side with it."""

    clause: Clause
    results: tuple[ClauseResult, ...]
    successor: Clause | None = None
    predecessors: tuple[Clause, ...] = ()

    @property
    def state(self) -> Literal["direct", "derived", "untested", "navigation"]:
        """Whether testcases tag it, reach it only through the cross-walk, miss it, or cannot tag it."""
        if self.results:
            return "derived" if self.results[0].derived else "direct"
        return "untested" if self.clause.strengths else "navigation"

    @property
    def claims(self) -> CheckCounts:
        """Sum over the direct testcases, or over the derived ones where there is no direct one."""
        return sum((result.claims for result in self._counted()), CheckCounts())

    @property
    def roll_up(self) -> str:
        """One line for a report. It never says that a clause is passed."""
        if not self.results:
            return "no testcase" if self.clause.strengths else "for navigation only"
        claims = self.claims
        met = f"{claims.held} claim{'' if claims.held == 1 else 's'} met"
        parts = [f"{met}, {claims.broken} not, {claims.undecided} undecided"]
        verdicts = Counter(result.verdict for result in self._counted())
        for verdict in ("NOT RUN", "NOT APPLICABLE"):
            if number := verdicts[verdict]:
                parts.append(f"{number} testcase{'' if number == 1 else 's'} {verdict.lower()}")
        parts.append("reviewer's judgement pending")
        return ("derived: " if self.state == "derived" else "") + "; ".join(parts)

    def _counted(self) -> Sequence[ClauseResult]:
        return [result for result in self.results if not result.derived] or self.results


@dataclass(frozen=True, kw_only=True)
class DocumentCoverage:
    """A document and its clauses, as (chapter, clauses) in the document's order; empty if it was not read."""

    document: Document
    groups: tuple[tuple[str, tuple[ClauseCoverage, ...]], ...]

    @property
    def clauses(self) -> tuple[ClauseCoverage, ...]:
        """All clauses in order, without the chapters."""
        return tuple(clause for _, clauses in self.groups for clause in clauses)

    @property
    def untested(self) -> tuple[str, ...]:
        """Ids of clauses that could be tagged and that no testcase reaches, not even through the cross-walk."""
        return self._ids("untested")

    @property
    def derived_only(self) -> tuple[str, ...]:
        """Ids of clauses that testcases reach only through the cross-walk."""
        return self._ids("derived")

    def _ids(self, state: str) -> tuple[str, ...]:
        return tuple(row.clause.id for row in self.clauses if row.state == state)


def cover(registry: Registry, results: Iterable[TaggedResult]) -> tuple[DocumentCoverage, ...]:
    """Lay the results out by document and clause; every document of the registry appears.

    Life-cycle phases and cross-walk targets without a row get no results.

    Raises:
        UsageError: a result is tagged with a clause the registry does not have.
    """
    rows: dict[str, list[ClauseResult]] = {clause_id: [] for clause_id in registry.clauses}
    for result in results:
        for clause_id, row in _rows_of(registry, result).items():
            rows[clause_id].append(row)
    return tuple(
        DocumentCoverage(
            document=document,
            groups=tuple(
                (name, tuple(_clause_coverage(registry, clause_id, rows) for clause_id in ids))
                for name, ids in document.groups
            ),
        )
        for document in registry.documents.values()
    )


def _clause_coverage(registry: Registry, clause_id: str, rows: Mapping[str, Sequence[ClauseResult]]) -> ClauseCoverage:
    return ClauseCoverage(
        clause=registry.clauses[clause_id],
        results=tuple(sorted(rows[clause_id], key=lambda row: (row.derived, row.nodeid))),
        successor=registry.successor(clause_id),
        predecessors=tuple(registry.predecessors(clause_id)),
    )


def _rows_of(registry: Registry, result: TaggedResult) -> dict[str, ClauseResult]:
    """One row a clause: the testcase's own tags, and what the cross-walk derives from them."""
    rows: dict[str, ClauseResult] = {}
    for tag in result.tags:
        registry.clause(tag.clause_id)
        rows[tag.clause_id] = _row(result, strength=tag.strength)
    own = set(rows)
    for tag in result.tags:
        for link in registry.derived(tag.clause_id, method=result.method):
            if not link.catalogued or link.target in own or registry.clause(link.target).kind == "phase":
                continue
            strength = _derived_strength(tag, registry.clause(link.target))
            confidence = link.confidence
            via: tuple[str, ...] = (tag.clause_id,)
            if known := rows.get(link.target):
                confidence = max(known.confidence, confidence, key=_RANK.__getitem__)
                via = tuple(dict.fromkeys((*known.via, *via)))
                if known.strength is Strength.CONTRIBUTES:
                    strength = known.strength
            rows[link.target] = _row(result, strength=strength, confidence=confidence, via=via)
    return rows


def _derived_strength(tag: Tag, target: Clause) -> Strength:
    """A derived tag never verifies."""
    if tag.strength is Strength.REVIEW or target.bench == "D":
        return Strength.REVIEW
    return Strength.CONTRIBUTES


def _row(
    result: TaggedResult,
    *,
    strength: Strength,
    confidence: Confidence | None = None,
    via: tuple[str, ...] = (),
) -> ClauseResult:
    return ClauseResult(
        nodeid=result.nodeid,
        title=result.title,
        verdict=result.verdict,
        checks=result.checks,
        strength=strength,
        derived=bool(via),
        confidence=confidence,
        via=via,
    )
