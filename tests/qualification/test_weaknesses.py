"""Each weakness of the emulated pump makes every testcase of its declared set FAIL; with --every-testcase, no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.qualify.trial import Trial, run_trial, settled
from harness.qualify.weaknesses import Weakness, load_weaknesses, rounds
from harness.verdict import Verdict

ROOT = Path(__file__).parents[2]
RIG = ROOT / "rigs/pump-qemu.yaml"
WEAKNESSES = load_weaknesses(ROOT / "firmware-fixtures/infusion-pump/weaknesses.yaml")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Weaknesses whose testcases are apart share a trial; with --alone each is tried by itself."""
    if "together" in metafunc.fixturenames:
        alone = metafunc.config.getoption("--alone")
        trials = [(weakness,) for weakness in WEAKNESSES] if alone else rounds(WEAKNESSES)
        metafunc.parametrize("together", trials, ids=[_called(trial) for trial in trials])


def trial(together: tuple[Weakness, ...], folder: Path, *, every: bool) -> Trial:
    """Run every testcase on the pump with these weaknesses, or without the long ones: the declared, the quick if none.

    What is undecided is tried once more.
    """
    switches = ["-n", "2", *[f"--weakness={weakness.name}" for weakness in together]]

    def run(name: str, options: list[str], only: list[str]) -> Trial:
        return run_trial(
            RIG,
            testcases=ROOT / "testcases",
            run_dir=folder / name,
            options=[*switches, *options, *(["-p", "only_named"] if only else [])],
            environment={"PYTHONPATH": str(Path(__file__).parent), "ONLY": " ".join(only)},
        )

    declared = declared_of(together)
    if every:
        first = run("run", [], [])
    elif declared:
        first = run("run", ["-m", "not long"], declared)
    else:
        first = run("run", ["-m", "not slow"], [])
    return settled(first, lambda undecided: run("again", [], undecided))


def declared_of(together: tuple[Weakness, ...]) -> list[str]:
    return sorted({name for weakness in together for name in weakness.declared})


def test_weaknesses_fail_their_declared_sets_and_no_other(
    together: tuple[Weakness, ...], tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    every = pytestconfig.getoption("--every-testcase")
    seen = trial(together, tmp_path, every=every)
    declared = {name for name in declared_of(together) if every or name in seen.verdicts}
    wrong = sorted({*seen.of(Verdict.FAIL)} ^ declared)
    assert wrong == [], "failed and should not, or the other way round:\n" + _told(seen, wrong)
    undecided = seen.of(Verdict.INCONCLUSIVE) + seen.of(Verdict.NOT_RUN)
    assert undecided == [], _told(seen, undecided)


def test_the_hardened_pump_passes(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    seen = trial((), tmp_path, every=pytestconfig.getoption("--every-testcase"))
    others = [name for name, verdict in seen.verdicts.items() if verdict is not Verdict.PASS]
    assert others == [], _told(seen, others)
    assert len(seen.verdicts) >= 40
    # A testcase is unqualified as long as, and only as long as, no weakness must make it FAIL.
    proven = {name.split("[")[0] for weakness in WEAKNESSES for name in weakness.fails}
    present = {name.split("[")[0] for name in seen.verdicts}
    assert seen.unqualified == present - proven


def test_every_weakness_is_declared_by_some_testcase() -> None:
    assert len(WEAKNESSES) == 44
    assert all(weakness.fails for weakness in WEAKNESSES)


def test_in_rounds_every_weakness_is_tried_once_and_no_testcase_is_in_dispute() -> None:
    tried = rounds(WEAKNESSES)
    assert sorted(weakness.name for trial in tried for weakness in trial) == sorted(each.name for each in WEAKNESSES)
    for trial in tried:
        assert len(declared_of(trial)) == sum(len(weakness.declared) for weakness in trial)


def _told(seen: Trial, names: list[str]) -> str:
    return "\n".join(f"{name}: {seen.verdicts.get(name, 'not there')}: {seen.reasons.get(name, '')}" for name in names)


def _called(trial: tuple[Weakness, ...]) -> str:
    more = f"+{len(trial) - 1}" if len(trial) > 1 else ""
    return f"{trial[0].name}{more}"
