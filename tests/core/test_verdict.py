"""The one table, and what checks come to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import BenchFault, LinkLost, UsageError, WrongDevice
from harness.verdict import (
    EXIT_FAIL,
    EXIT_INCONCLUSIVE,
    EXIT_NOT_RUN,
    EXIT_USAGE,
    BenchStalled,
    Check,
    CheckState,
    ClaimBroken,
    NotApplicable,
    SilenceAfterAttack,
    Undecided,
    Verdict,
    decide,
    exit_code,
    judge,
)

CHECKS = st.lists(
    st.builds(
        Check,
        title=st.just("t"),
        state=st.sampled_from(CheckState),
        expected=st.just("e"),
        observed=st.just("o"),
        claim=st.sampled_from(["", "CLAIM"]),
    )
)


@pytest.mark.parametrize(
    ("error", "verdict", "allure"),
    [
        (None, Verdict.PASS, "passed"),
        (ClaimBroken(), Verdict.FAIL, "failed"),
        (AssertionError(), Verdict.INCONCLUSIVE, "broken"),
        (ValueError(), Verdict.INCONCLUSIVE, "broken"),
        (Undecided(), Verdict.INCONCLUSIVE, "broken"),
        (SilenceAfterAttack(), Verdict.INCONCLUSIVE, "broken"),
        (BenchFault("x"), Verdict.INCONCLUSIVE, "broken"),
        (LinkLost("x"), Verdict.INCONCLUSIVE, "broken"),
        (WrongDevice("x"), Verdict.INCONCLUSIVE, "broken"),
        (UsageError("x"), Verdict.INCONCLUSIVE, "broken"),
        (NotApplicable("x"), Verdict.NOT_APPLICABLE, "skipped"),
        (KeyboardInterrupt(), Verdict.NOT_RUN, "unknown"),
        (SystemExit(), Verdict.INCONCLUSIVE, "broken"),
    ],
)
def test_each_exception_has_one_verdict(error: BaseException | None, verdict: Verdict, allure: str) -> None:
    row = judge(error)
    assert (row.verdict, row.allure_status) == (verdict, allure)


@given(checks=CHECKS)
def test_a_pass_needs_a_claim_and_no_doubt(checks: list[Check]) -> None:
    result = decide(checks)
    states = {check.state for check in checks}
    if CheckState.BROKEN in states:
        assert isinstance(result, ClaimBroken)
    elif CheckState.UNDECIDED in states or not any(check.claim for check in checks):
        assert isinstance(result, Undecided)
    else:
        assert result is None


def test_only_a_stalled_bench_asks_for_a_repetition() -> None:
    stalled = Check("t", CheckState.UNDECIDED, "e", "o", claim="C", stalled=True)
    other = Check("t", CheckState.UNDECIDED, "e", "o", claim="C")
    assert isinstance(decide([stalled]), BenchStalled)
    assert not isinstance(decide([stalled, other]), BenchStalled)


def test_a_fail_says_claim_source_expected_and_observed() -> None:
    check = Check("port 23", CheckState.BROKEN, "closed", "open", claim="PORTS", source="ICD § 7", repeat="scan it")
    text = str(decide([check]))
    assert all(part in text for part in ("PORTS", "ICD § 7", "closed", "open", "scan it"))


def test_exit_codes_tell_apart() -> None:
    assert exit_code([Verdict.PASS, Verdict.NOT_APPLICABLE]) == 0
    assert exit_code([Verdict.INCONCLUSIVE, Verdict.FAIL]) == EXIT_FAIL
    assert exit_code([Verdict.NOT_RUN, Verdict.INCONCLUSIVE]) == EXIT_INCONCLUSIVE
    assert exit_code([Verdict.PASS, Verdict.NOT_RUN]) == EXIT_NOT_RUN
    assert len({0, 1, 2, 3, 5, EXIT_FAIL, EXIT_INCONCLUSIVE, EXIT_NOT_RUN, EXIT_USAGE}) == 9
