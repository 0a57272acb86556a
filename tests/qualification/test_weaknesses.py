"""Each weakness of the emulated pump makes every testcase of its declared set FAIL, and no other."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness.qualify.trial import Trial, run_trial
from harness.qualify.weaknesses import Weakness, load_weaknesses, rounds
from harness.verdict import Verdict

ROOT = Path(__file__).parents[2]
HERE = str(Path(__file__).parent)
RIG = ROOT / "rigs/pump-qemu.yaml"
WEAKNESSES = load_weaknesses(ROOT / "firmware-fixtures/infusion-pump/weaknesses.yaml")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Weaknesses whose testcases are apart share a trial; with --alone each is tried by itself."""
    if "together" in metafunc.fixturenames:
        alone = metafunc.config.getoption("--alone")
        trials = [(weakness,) for weakness in WEAKNESSES] if alone else rounds(WEAKNESSES)
        metafunc.parametrize("together", trials, ids=[_called(trial) for trial in trials])


def trial(together: tuple[Weakness, ...], folder: Path, *, every: bool) -> Trial:
    """Run every testcase on the pump with these weaknesses, or the quick and the declared ones without the long."""
    switches = ["-n", "2", *[f"--weakness={weakness.name}" for weakness in together]]
    return run_trial(
        RIG,
        testcases=ROOT / "testcases",
        run_dir=folder / "run",
        options=switches if every else [*switches, "-p", "declared_or_quick"],
        environment={"PYTHONPATH": HERE, "DECLARED": " ".join(declared_of(together))},
    )


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
    applicable = {name: verdict for name, verdict in seen.verdicts.items() if verdict is not Verdict.NOT_APPLICABLE}
    others = [name for name, verdict in applicable.items() if verdict is not Verdict.PASS]
    assert others == [], _told(seen, others)
    assert len(applicable) >= 40
    # A testcase is unqualified as long as, and only as long as, no weakness must make it FAIL.
    proven = {name.split("[")[0] for weakness in WEAKNESSES for name in weakness.fails}
    present = {name.split("[")[0] for name in seen.verdicts}
    assert seen.unqualified == present - proven


def test_what_weaknesses_declare_is_there() -> None:
    """Each proves something that is not long, else `make test` would not see it; no name is misspelled."""
    assert len(WEAKNESSES) == 44
    listed = subprocess.run(
        [sys.executable, "-m", "pytest", "testcases", "--rig", RIG, "--collect-only", "-qq", "-p", "declared_or_quick"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": HERE, "DECLARED": ""},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=60,
    )
    there = {name: bool(long) for name, long in re.findall(r"(?m)^testcase (\S+)( long)?$", listed.stdout)}
    assert {name for weakness in WEAKNESSES for name in weakness.declared} <= there.keys()
    assert all(not all(there[name] for name in weakness.fails) for weakness in WEAKNESSES)


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
