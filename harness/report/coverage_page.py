"""The clause coverage page: document → clause → testcases → checks, with what no testcase touches named.

One HTML file without a script, readable offline and on paper. A clause never gets a verdict: its roll-up counts
claims and leaves the judgement to the reviewer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.clauses.coverage import CheckCounts, ClauseCoverage, ClauseResult, DocumentCoverage, TaggedResult, cover
from harness.clauses.model import Registry
from harness.clean import file_name
from harness.report.equipment import equipment_of
from harness.report.labels import CONFIDENCE, document_status
from harness.report.page import render
from harness.report.reading import CaseRecord, RunRecord
from harness.verdict import CheckState

__all__ = ["coverage_of", "write_coverage"]

SIDE_BY_SIDE = (("NMPA-2020", "NMPA-2022"), ("ANSM-2019", "ANSM-2022"))
"""Superseded drafts and the texts that took their place: shown beside each other."""


def write_coverage(run: RunRecord, path: Path, registry: Registry) -> None:
    """Write the coverage page of a run to `path`."""
    documents, unknown = coverage_of(run, registry)
    page = render(
        "coverage.html",
        run=run,
        equipment=equipment_of(run),
        registry=registry,
        documents=documents,
        pairs=_pairs(documents),
        unknown=unknown,
        cases={case.nodeid: case for case in run.cases},
        status=document_status,
        anchor=_anchor,
        derived=_derived,
        not_held=_not_held,
        confidence=CONFIDENCE,
        state=CheckState,
    )
    path.write_text(page, encoding="utf-8")


def coverage_of(run: RunRecord, registry: Registry) -> tuple[tuple[DocumentCoverage, ...], tuple[str, ...]]:
    """Lay out a run by document and clause; return also the tagged clauses this catalogue does not have."""
    unknown = sorted({tag.clause_id for case in run.cases for tag in case.tags} - set(registry.clauses))
    results = [
        TaggedResult(
            nodeid=case.nodeid,
            title=case.title,
            verdict=case.verdict.value,
            checks=CheckCounts(
                held=case.count(CheckState.HELD),
                broken=case.count(CheckState.BROKEN),
                undecided=case.count(CheckState.UNDECIDED),
            ),
            tags=tuple(tag for tag in case.tags if tag.clause_id not in unknown),
            method=case.about.get("method") or None,
        )
        for case in run.cases
    ]
    return cover(registry, results), tuple(unknown)


@dataclass(frozen=True, slots=True)
class Pair:
    """A draft and the text after it: rows of (draft clause, clause in the successor if the catalogue knows one)."""

    draft: DocumentCoverage
    heir: DocumentCoverage
    rows: tuple[tuple[ClauseCoverage, ClauseCoverage | None], ...]


def _pairs(documents: Iterable[DocumentCoverage]) -> list[Pair]:
    known = {each.document.id: each for each in documents}
    pairs = []
    for draft, heir in SIDE_BY_SIDE:
        if draft in known and heir in known:
            after = {row.clause.id: row for row in known[heir].clauses}
            rows = tuple(
                (row, after.get(row.successor.id) if row.successor else None)
                for row in known[draft].clauses
                if row.clause.kind == "clause"
            )
            pairs.append(Pair(known[draft], known[heir], rows))
    return pairs


def _derived(row: ClauseCoverage) -> Mapping[str, list[ClauseResult]]:
    """The derived testcases of a clause by confidence, surest first."""
    found = [result for result in row.results if result.derived]
    return {
        word: group
        for confidence, word in CONFIDENCE.items()
        if (group := [result for result in found if result.confidence is confidence])
    }


def _not_held(case: CaseRecord) -> list[Any]:
    return [check for check in case.checks if check.state is not CheckState.HELD]


def _anchor(text: str) -> str:
    """A fragment id: readable, and different for different texts."""
    digest = hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:6]
    return f"{file_name(text)}-{digest}"
