"""Each weakness of an emulated device makes every testcase of its declared set FAIL, and no other."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from harness.qualify.trial import Trial, run_trial
from harness.qualify.weaknesses import Weakness, load_weaknesses, rounds
from harness.verdict import Verdict

ROOT = Path(__file__).parents[2]
HERE = str(Path(__file__).parent)


@dataclass(frozen=True)
class Fixture:
    """An emulated device with weaknesses: how many, how many of them testcases see, how many testcases apply to it.

    `settles_marks`: the testcases that none of its weaknesses proves are marked `unqualified`, and no others.
    """

    name: str
    rig: Path
    weaknesses: tuple[Weakness, ...] = field(repr=False)
    known: int
    seen: int
    applicable: int
    settles_marks: bool = False

    @property
    def provable(self) -> tuple[Weakness, ...]:
        """Those that make a testcase FAIL."""
        return tuple(weakness for weakness in self.weaknesses if weakness.fails)


def of(name: str) -> tuple[Weakness, ...]:
    return load_weaknesses(ROOT / "firmware-fixtures" / name / "weaknesses.yaml")


PUMP = Fixture(
    "pump", ROOT / "rigs/pump-qemu.yaml", of("infusion-pump"), known=44, seen=44, applicable=40, settles_marks=True
)
SYRINGE = Fixture("syringe", ROOT / "rigs/syringe-qemu.yaml", of("syringe-driver"), known=20, seen=11, applicable=24)
GATEWAY = Fixture("gateway", ROOT / "rigs/gateway-qemu.yaml", of("bedside-gateway"), known=23, seen=23, applicable=33)
FIXTURES = (PUMP, SYRINGE, GATEWAY)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Weaknesses whose testcases are apart share a trial; with --alone each is tried by itself."""
    if "together" in metafunc.fixturenames:
        alone = metafunc.config.getoption("--alone")
        trials = [
            (fixture, trial)
            for fixture in FIXTURES
            for trial in ([(each,) for each in fixture.provable] if alone else rounds(fixture.provable))
        ]
        names = [f"{fixture.name}-{_called(trial)}" for fixture, trial in trials]
        metafunc.parametrize(("fixture", "together"), trials, ids=names)
    elif "fixture" in metafunc.fixturenames:
        metafunc.parametrize("fixture", FIXTURES, ids=[fixture.name for fixture in FIXTURES])


def trial(fixture: Fixture, together: tuple[Weakness, ...], folder: Path, *, every: bool) -> Trial:
    """Run every testcase on a device with these weaknesses, or the quick and the declared ones without the long."""
    switches = ["-n", "2", *[f"--weakness={weakness.name}" for weakness in together]]
    return run_trial(
        fixture.rig,
        testcases=ROOT / "testcases",
        run_dir=folder / "run",
        options=switches if every else [*switches, "-p", "declared_or_quick"],
        environment={"PYTHONPATH": HERE, "DECLARED": " ".join(declared_of(together))},
    )


def declared_of(together: tuple[Weakness, ...]) -> list[str]:
    return sorted({name for weakness in together for name in weakness.declared})


def test_weaknesses_fail_their_declared_sets_and_no_other(
    fixture: Fixture, together: tuple[Weakness, ...], tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    every = pytestconfig.getoption("--every-testcase")
    seen = trial(fixture, together, tmp_path, every=every)
    declared = {name for name in declared_of(together) if every or name in seen.verdicts}
    wrong = sorted({*seen.of(Verdict.FAIL)} ^ declared)
    assert wrong == [], "failed and should not, or the other way round:\n" + _told(seen, wrong)
    undecided = seen.of(Verdict.INCONCLUSIVE) + seen.of(Verdict.NOT_RUN)
    assert undecided == [], _told(seen, undecided)


def test_the_hardened_device_passes(fixture: Fixture, tmp_path: Path, pytestconfig: pytest.Config) -> None:
    seen = trial(fixture, (), tmp_path, every=pytestconfig.getoption("--every-testcase"))
    applicable = {name: verdict for name, verdict in seen.verdicts.items() if verdict is not Verdict.NOT_APPLICABLE}
    others = [name for name, verdict in applicable.items() if verdict is not Verdict.PASS]
    assert others == [], _told(seen, others)
    assert len(applicable) >= fixture.applicable
    if fixture.settles_marks:
        # A testcase is unqualified as long as, and only as long as, no weakness of the pump must make it FAIL.
        proven = {name.split("[")[0] for weakness in fixture.weaknesses for name in weakness.fails}
        present = {name.split("[")[0] for name in seen.verdicts}
        assert seen.unqualified == present - proven


def test_what_weaknesses_declare_is_there(fixture: Fixture) -> None:
    """Each proves something that is not long, else `make test` would not see it; no name is misspelled."""
    assert len(fixture.weaknesses) == fixture.known
    assert len(fixture.provable) == fixture.seen
    assert not [weakness.name for weakness in fixture.weaknesses if weakness.collateral and not weakness.fails]
    listed = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "testcases", "--rig", fixture.rig),
            *("--collect-only", "-qq", "-p", "declared_or_quick"),
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": HERE, "DECLARED": ""},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=60,
    )
    there = {name: bool(long) for name, long in re.findall(r"(?m)^testcase (\S+)( long)?$", listed.stdout)}
    assert {name for weakness in fixture.weaknesses for name in weakness.declared} <= there.keys()
    assert all(not all(there[name] for name in weakness.fails) for weakness in fixture.provable)


def test_in_rounds_every_weakness_is_tried_once_and_no_testcase_is_in_dispute(fixture: Fixture) -> None:
    tried = rounds(fixture.provable)
    names = sorted(weakness.name for trial in tried for weakness in trial)
    assert names == sorted(each.name for each in fixture.provable)
    for trial in tried:
        assert len(declared_of(trial)) == sum(len(weakness.declared) for weakness in trial)


def _told(seen: Trial, names: list[str]) -> str:
    return "\n".join(f"{name}: {seen.verdicts.get(name, 'not there')}: {seen.reasons.get(name, '')}" for name in names)


def _called(trial: tuple[Weakness, ...]) -> str:
    more = f"+{len(trial) - 1}" if len(trial) > 1 else ""
    return f"{trial[0].name}{more}"
