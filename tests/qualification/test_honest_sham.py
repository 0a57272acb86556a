"""Every testcase passes on the honest sham, else the trials of the liars could not fail."""

from __future__ import annotations

from pathlib import Path

from impatient import SHAM

from harness.qualify.trial import run_trial
from harness.verdict import Verdict

TESTCASES = Path(__file__).parents[2] / "testcases"


def test_the_honest_sham_passes(tmp_path: Path) -> None:
    seen = run_trial(
        SHAM, testcases=TESTCASES, run_dir=tmp_path / "run", options=["--fuzz-cases", "20", "-n", "2"], environment={}
    )
    applicable = {name: verdict for name, verdict in seen.verdicts.items() if verdict is not Verdict.NOT_APPLICABLE}
    assert {name: verdict for name, verdict in applicable.items() if verdict is not Verdict.PASS} == {}
    assert len(applicable) > 40
