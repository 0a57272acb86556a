"""No testcase passes on a liar: every testcase there is, none named here.

Trials may go on side by side (`-n`): they wait most of the time, and no verdict here hangs on a time.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from impatient import impatient_rig
from lie_after_baseline import NOT_REACHED

from harness.qualify.trial import Trial, run_trial
from harness.verdict import Verdict

ROOT = Path(__file__).parents[2]
TESTCASES = ROOT / "testcases"

MANY = ["-n", "10", "--dist", "worksteal"]
"""Most of the time goes by in waiting for a silent sham, which costs no processor."""
FROM_THE_START = ["dead", "mute", "echo", "babble", "replay", "refuse", "accept", "wrong-device", "wrong-unit"]
AFTER_THE_BASELINE = [
    "mute",
    "after8",
    "after200",
    "frozen-but-broadcasting",
    "echo",
    "babble",
    "replay",
    "refuse",
    "accept",
]


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sham's rig with short waits."""
    return impatient_rig(tmp_path_factory.mktemp("rig"), lie_file=True)


def trial(rig: Path, folder: Path, *, options: list[str], environment: dict[str, str]) -> Trial:
    """Run every testcase with short campaigns."""
    here = str(Path(__file__).parent)
    return run_trial(
        rig,
        testcases=TESTCASES,
        run_dir=folder / "run",
        options=["--fuzz-cases", "20", *options],
        environment={"PYTHONPATH": here, **environment},
    )


@pytest.mark.parametrize("lie", FROM_THE_START)
def test_a_liar_from_the_start_never_passes(lie: str, impatient: Path, tmp_path: Path) -> None:
    seen = trial(impatient, tmp_path, options=MANY, environment={"SHAM_LIE": lie})
    assert seen.of(Verdict.PASS) == []
    assert len(seen.verdicts) > 40
    assert seen.exit_code != 0


@pytest.mark.parametrize("lie", AFTER_THE_BASELINE)
def test_a_liar_after_the_baseline_never_passes(lie: str, impatient: Path, tmp_path: Path) -> None:
    seen = trial(impatient, tmp_path, options=[*MANY, "-p", "lie_after_baseline"], environment={"SHAM_THEN": lie})
    assert seen.of(Verdict.PASS) == []
    assert len(seen.verdicts) > 40
    reached = [name for name in seen.verdicts if NOT_REACHED not in seen.reasons[name]]
    assert len(reached) > len(seen.verdicts) / 4, "the lie came too late to be met"
    assert seen.exit_code != 0
