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
    """An emulated device with weaknesses: how many, how many of them testcases see, how many testcases apply to it."""

    name: str
    rig: Path
    weaknesses: tuple[Weakness, ...] = field(repr=False)
    known: int
    seen: int
    applicable: int

    @property
    def provable(self) -> tuple[Weakness, ...]:
        """Those that make a testcase FAIL."""
        return tuple(weakness for weakness in self.weaknesses if weakness.fails)


def of(name: str) -> tuple[Weakness, ...]:
    return load_weaknesses(ROOT / "firmware-fixtures" / name / "weaknesses.yaml")


PUMP = Fixture("pump", ROOT / "rigs/pump-qemu.yaml", of("infusion-pump"), known=60, seen=60, applicable=50)
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
    expected = {name for weakness in together for name in weakness.undecided if name in seen.verdicts}
    undecided = sorted({*seen.of(Verdict.INCONCLUSIVE)} ^ expected) + seen.of(Verdict.NOT_RUN)
    assert undecided == [], "undecided and should not be, or the other way round:\n" + _told(seen, undecided)


def test_the_hardened_device_passes(fixture: Fixture, tmp_path: Path, pytestconfig: pytest.Config) -> None:
    seen = trial(fixture, (), tmp_path, every=pytestconfig.getoption("--every-testcase"))
    applicable = {name: verdict for name, verdict in seen.verdicts.items() if verdict is not Verdict.NOT_APPLICABLE}
    others = [name for name, verdict in applicable.items() if verdict is not Verdict.PASS]
    assert others == [], _told(seen, others)
    assert len(applicable) >= fixture.applicable


def test_what_weaknesses_declare_is_there(fixture: Fixture) -> None:
    """Each proves something that is not long, else `make test` would not see it; no name is misspelled."""
    assert len(fixture.weaknesses) == fixture.known
    assert len(fixture.provable) == fixture.seen
    assert not [weakness.name for weakness in fixture.weaknesses if weakness.collateral and not weakness.fails]
    there = marks(fixture)
    assert {name for weakness in fixture.weaknesses for name in weakness.touched} <= there.keys()
    assert all(not all("long" in there[name] for name in weakness.fails) for weakness in fixture.provable)


def test_unqualified_is_what_no_weakness_of_any_device_must_make_fail() -> None:
    marked = {_id(name): "unqualified" in each for fixture in FIXTURES for name, each in marks(fixture).items()}
    proven = {_id(name) for fixture in FIXTURES for weakness in fixture.weaknesses for name in weakness.fails}
    assert {testcase for testcase, unqualified in marked.items() if unqualified} == marked.keys() - proven


def marks(fixture: Fixture) -> dict[str, set[str]]:
    """Every testcase with its instance on this device, and what it is marked as."""
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
    return {name: set(each.split()) for name, each in re.findall(r"(?m)^testcase (\S+)(.*)$", listed.stdout)}


def _id(name: str) -> str:
    return name.partition("[")[0]


def test_in_rounds_every_weakness_is_tried_once_and_no_testcase_is_in_dispute(fixture: Fixture) -> None:
    tried = rounds(fixture.provable)
    names = sorted(weakness.name for trial in tried for weakness in trial)
    assert names == sorted(each.name for each in fixture.provable)
    for trial in tried:
        touched = [name for weakness in trial for name in weakness.touched]
        assert len(touched) == len(set(touched))


def _told(seen: Trial, names: list[str]) -> str:
    return "\n".join(f"{name}: {seen.verdicts.get(name, 'not there')}: {seen.reasons.get(name, '')}" for name in names)


def _called(trial: tuple[Weakness, ...]) -> str:
    more = f"+{len(trial) - 1}" if len(trial) > 1 else ""
    return f"{trial[0].name}{more}"
