"""Clause coverage: honest counts, derived apart from direct, and never a passed clause."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.clauses import Confidence, Strength, Tag, load_registry
from harness.clauses.coverage import (
    VERDICTS,
    CheckCounts,
    ClauseCoverage,
    DocumentCoverage,
    TaggedResult,
    Verdict,
    cover,
)
from harness.errors import UsageError

REGISTRY = load_registry()
TAGS = [Tag(clause_id=row.id, strength=strength) for row in REGISTRY.clauses.values() for strength in row.strengths]


def result(
    verdict: Verdict,
    *clauses: str,
    checks: tuple[int, int, int] = (3, 0, 0),
    name: str = "t.py::test_a",
    strength: str = "verifies",
    method: str | None = None,
) -> TaggedResult:
    held, broken, undecided = checks
    return TaggedResult(
        nodeid=name,
        title="A testcase",
        verdict=verdict,
        checks=CheckCounts(held=held, broken=broken, undecided=undecided),
        tags=tuple(REGISTRY.check_tag(each, strength) for each in clauses),
        method=method,
    )


def of(coverage: tuple[DocumentCoverage, ...], clause_id: str) -> ClauseCoverage:
    (found,) = [row for document in coverage for row in document.clauses if row.clause.id == clause_id]
    return found


@pytest.mark.parametrize(
    ("verdict", "checks", "says"),
    [
        ("PASS", (3, 0, 0), "3 claims met, 0 not, 0 undecided; reviewer's judgement pending"),
        ("PASS", (1, 0, 0), "1 claim met, 0 not, 0 undecided; reviewer's judgement pending"),
        ("FAIL", (3, 1, 2), "3 claims met, 1 not, 2 undecided; reviewer's judgement pending"),
        ("FAIL", (3, 0, 0), "3 claims met, 1 not, 0 undecided; reviewer's judgement pending"),
        ("INCONCLUSIVE", (3, 0, 1), "0 claims met, 0 not, 4 undecided; reviewer's judgement pending"),
        ("INCONCLUSIVE", (0, 0, 0), "0 claims met, 0 not, 1 undecided; reviewer's judgement pending"),
        (
            "NOT RUN",
            (3, 0, 0),
            "0 claims met, 0 not, 0 undecided; 1 testcase not run; reviewer's judgement pending",
        ),
        (
            "NOT APPLICABLE",
            (0, 0, 0),
            "0 claims met, 0 not, 0 undecided; 1 testcase not applicable; reviewer's judgement pending",
        ),
    ],
)
def test_roll_up_of_one_testcase(verdict: Verdict, checks: tuple[int, int, int], says: str) -> None:
    coverage = cover(REGISTRY, [result(verdict, "NMPA-2022/ALOF", checks=checks)])
    assert of(coverage, "NMPA-2022/ALOF").roll_up == says


def test_roll_up_adds_testcases() -> None:
    coverage = cover(
        REGISTRY,
        [
            result("PASS", "NMPA-2022/PAUT", checks=(4, 0, 0), name="b"),
            result("FAIL", "NMPA-2022/PAUT", checks=(1, 2, 0), name="a"),
            result("NOT RUN", "NMPA-2022/PAUT", name="c"),
        ],
    )
    row = of(coverage, "NMPA-2022/PAUT")
    assert row.roll_up == ("5 claims met, 2 not, 0 undecided; 1 testcase not run; reviewer's judgement pending")
    assert [each.nodeid for each in row.results] == ["a", "b", "c"]


def test_derived_results_are_marked_and_never_verify() -> None:
    coverage = cover(REGISTRY, [result("PASS", "NMPA-2022/PAUT")])
    row = of(coverage, "IEC62443-4-2/CR-1.11")
    (only,) = row.results
    assert (only.derived, only.confidence, only.via) == (True, Confidence.HIGH, ("NMPA-2022/PAUT",))
    assert only.strength is Strength.CONTRIBUTES
    assert row.state == "derived"
    assert row.roll_up == "derived: 3 claims met, 0 not, 0 undecided; reviewer's judgement pending"
    assert of(coverage, "MDS2-2019/PAUT").results[0].confidence is None


def test_a_direct_tag_outranks_a_derived_one() -> None:
    coverage = cover(REGISTRY, [result("PASS", "NMPA-2022/ALOF", "FDA-VC/REQ")])
    (only,) = of(coverage, "FDA-VC/REQ").results
    assert not only.derived
    assert only.strength is Strength.VERIFIES


def test_derived_testcases_do_not_add_to_direct_claims() -> None:
    coverage = cover(
        REGISTRY,
        [
            result("FAIL", "FDA-A1/B", checks=(0, 1, 0), name="direct"),
            result("PASS", "NMPA-2022/ALOF", checks=(50, 0, 0), name="derived"),
        ],
    )
    row = of(coverage, "FDA-A1/B")
    assert [each.nodeid for each in row.results] == ["direct", "derived"]
    assert row.roll_up == "0 claims met, 1 not, 0 undecided; reviewer's judgement pending"


def test_one_testcase_derived_twice_is_counted_once_with_the_surest_link() -> None:
    coverage = cover(REGISTRY, [result("PASS", "NMPA-2022/EMRG", "NMPA-2022/AUTH")])
    (only,) = of(coverage, "ANSM-2019/DES-ACC").results
    assert only.confidence is Confidence.MEDIUM
    assert only.via == ("NMPA-2022/EMRG", "NMPA-2022/AUTH")


def test_links_by_method_follow_the_testcase() -> None:
    fuzz = cover(REGISTRY, [result("PASS", "NMPA-2022/VV-METH", method="fuzz")])
    scan = cover(REGISTRY, [result("PASS", "NMPA-2022/VV-METH", method="scan")])
    assert of(fuzz, "FDA-VC/VULN-ABUSE").state == "derived"
    assert of(fuzz, "FDA-VC/VULN-SCAN").state == "untested"
    assert of(scan, "FDA-VC/VULN-SCAN").state == "derived"


def test_document_review_stays_review_when_derived() -> None:
    coverage = cover(REGISTRY, [result("PASS", "NMPA-2022/RDMP", strength="review")])
    (only,) = of(coverage, "MDS2-2019/RDMP").results
    assert only.strength is Strength.REVIEW


def test_clauses_without_testcase_are_named() -> None:
    coverage = cover(REGISTRY, [result("PASS", "NMPA-2022/ALOF")])
    by_id = {each.document.id: each for each in coverage}
    assert list(by_id) == list(REGISTRY.documents)
    assert "NMPA-2022/ALOF" not in by_id["NMPA-2022"].untested
    assert "NMPA-2022/PAUT" in by_id["NMPA-2022"].untested
    assert by_id["MDCG-2019-16"].derived_only == ("MDCG-2019-16/3.7",)
    assert of(coverage, "NMPA-2022/PAUT").roll_up == "no testcase"
    assert of(coverage, "YYT-1843/A").roll_up == "for navigation only"
    assert "YYT-1843/A" not in by_id["YYT-1843"].untested
    assert by_id["FDA-2026"].groups == ()


def test_draft_and_successor_stand_side_by_side() -> None:
    coverage = cover(REGISTRY, [])
    draft, final = of(coverage, "NMPA-2020/T1-sep"), of(coverage, "NMPA-2022/DATA-SEP")
    assert draft.successor == final.clause
    assert final.predecessors == (draft.clause,)


def test_phases_get_no_results() -> None:
    coverage = cover(REGISTRY, [result("PASS", "NMPA-2022/CSUP")])
    assert of(coverage, "ANSM-2019/PH-MON").results == ()


def test_what_cannot_be_true_is_refused() -> None:
    with pytest.raises(UsageError, match="negative"):
        CheckCounts(held=-1)
    with pytest.raises(UsageError, match="unknown verdict 'passed'"):
        result("passed", "NMPA-2022/ALOF")  # type: ignore[arg-type]
    unknown = TaggedResult(
        nodeid="a",
        title="a",
        verdict="PASS",
        checks=CheckCounts(),
        tags=(Tag(clause_id="NMPA-2022/NONE", strength=Strength.REVIEW),),
    )
    with pytest.raises(UsageError, match="unknown clause"):
        cover(REGISTRY, [unknown])


_RESULTS = st.builds(
    TaggedResult,
    nodeid=st.text("abc", min_size=1, max_size=3),
    title=st.text(max_size=5),
    verdict=st.sampled_from(VERDICTS),
    checks=st.builds(CheckCounts, held=st.integers(0, 9), broken=st.integers(0, 9), undecided=st.integers(0, 9)),
    tags=st.lists(st.sampled_from(TAGS), min_size=1, max_size=4).map(tuple),
    method=st.sampled_from([None, "fuzz", "scan", "penetration", "function"]),
)


@settings(max_examples=50, deadline=None)
@given(results=st.lists(_RESULTS, max_size=6))
def test_coverage_is_honest_whatever_the_results(results: list[TaggedResult]) -> None:
    coverage = cover(REGISTRY, results)
    rows = [row for document in coverage for row in document.clauses]
    assert [row.clause.id for row in rows] == list(REGISTRY.clauses)
    for row in rows:
        assert not re.search("pass", row.roll_up, re.IGNORECASE)
        tagged = [each for each in results if row.clause.id in {tag.clause_id for tag in each.tags}]
        assert sum(not each.derived for each in row.results) == len(tagged)
        assert row.state != "direct" or tagged
        counted = tagged or row.results
        earned = sum(each.checks.held for each in counted if each.verdict in ("PASS", "FAIL"))
        assert row.claims.held == earned
        if any(each.verdict == "FAIL" for each in counted):
            assert row.claims.broken > 0
        if any(each.verdict == "INCONCLUSIVE" for each in counted):
            assert row.claims.undecided > 0
        for each in row.results:
            assert each.derived == bool(each.via)
            assert not (each.derived and each.strength is Strength.VERIFIES)
