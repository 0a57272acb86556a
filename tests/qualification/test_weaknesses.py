"""Each weakness of the emulated pump makes every testcase of its declared set FAIL, and no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.qualify.trial import run_trial
from harness.qualify.weaknesses import Weakness, load_weaknesses
from harness.verdict import Verdict

ROOT = Path(__file__).parents[2]
RIG = ROOT / "rigs/pump-qemu.yaml"
WEAKNESSES = load_weaknesses(ROOT / "firmware-fixtures/infusion-pump/weaknesses.yaml")


def options_for(weakness: Weakness | None, *, every: bool) -> tuple[list[str], dict[str, str]]:
    """Return pytest's options and environment: every testcase, or the quick and the declared ones."""
    options = ["-n", "2", *(["--weakness", weakness.name] if weakness else [])]
    if every:
        return options, {}
    declared = weakness.declared if weakness else []
    return (
        [*options, "-p", "declared_or_quick"],
        {"PYTHONPATH": str(Path(__file__).parent), "DECLARED": " ".join(declared)},
    )


@pytest.mark.parametrize("weakness", WEAKNESSES, ids=lambda weakness: weakness.name)
def test_a_weakness_fails_its_declared_set_and_no_other(
    weakness: Weakness, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    options, environment = options_for(weakness, every=pytestconfig.getoption("--every-testcase"))
    seen = run_trial(
        RIG, testcases=ROOT / "testcases", run_dir=tmp_path / "run", options=options, environment=environment
    )
    assert seen.of(Verdict.FAIL) == weakness.declared, _told(seen.reasons, seen.of(Verdict.FAIL))
    undecided = seen.of(Verdict.INCONCLUSIVE) + seen.of(Verdict.NOT_RUN)
    assert undecided == [], _told(seen.reasons, undecided)


def test_the_hardened_pump_passes(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    options, environment = options_for(None, every=pytestconfig.getoption("--every-testcase"))
    seen = run_trial(
        RIG, testcases=ROOT / "testcases", run_dir=tmp_path / "run", options=options, environment=environment
    )
    others = [name for name, verdict in seen.verdicts.items() if verdict is not Verdict.PASS]
    assert others == [], _told(seen.reasons, others)
    assert len(seen.verdicts) >= 40
    # A testcase is unqualified as long as, and only as long as, no weakness must make it FAIL.
    proven = {name.split("[")[0] for weakness in WEAKNESSES for name in weakness.fails}
    present = {name.split("[")[0] for name in seen.verdicts}
    assert seen.unqualified == present - proven


def test_every_weakness_is_declared_by_some_testcase() -> None:
    assert len(WEAKNESSES) == 10
    assert all(weakness.fails for weakness in WEAKNESSES)


def _told(reasons: object, names: list[str]) -> str:
    return "\n".join(f"{name}: {dict(reasons).get(name, 'not run')}" for name in names)  # type: ignore[call-overload]
