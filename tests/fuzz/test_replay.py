"""Findings and their replay on a running sham pump: what harms it is told from what does not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.bench import Bench
from harness.errors import UsageError
from harness.fuzz.campaign import replay
from harness.fuzz.cases import FuzzCase
from harness.fuzz.findings import Finding, read_finding, write_finding
from harness.fuzz.oracle import Harm, Oracle
from harness.fuzz.reduce import fewest
from harness.fuzz.replay import replay_finding
from harness.journal import Journal
from harness.rig.loading import load_rig

RIG = Path(__file__).parents[1] / "sham/rig.yaml"
SHORT = FuzzCase("t/short:0", bytes.fromhex("22f18cf195"), "default")
LONG = FuzzCase("t/long:0", bytes.fromhex("22") + bytes.fromhex("f18c") * 20, "default")


@pytest.fixture
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    rig = load_rig(RIG).with_weaknesses(request.param)
    journal = Journal(tmp_path / "journal.jsonl")
    bench = Bench(rig, run_dir=tmp_path, journal=journal)
    try:
        bench.open()
        yield bench
    finally:
        bench.close()
        journal.close()


@pytest.mark.parametrize("bench", [()], indirect=True, ids=["honest"])
def test_an_honest_pump_is_not_harmed(bench: Bench) -> None:
    assert replay(bench, "uds", [SHORT, LONG], recovery=5) is None


@pytest.mark.parametrize("bench", [("uds-memory-bug",)], indirect=True, ids=["flawed"])
def test_a_crash_is_seen_and_its_cause_found(bench: Bench) -> None:
    def harmed(cases: list[FuzzCase]) -> bool:
        trouble = replay(bench, "uds", cases, recovery=5)
        assert trouble is None or trouble.harm is Harm.RESTART
        return trouble is not None

    assert not harmed([SHORT])
    window = [SHORT, LONG, SHORT]
    assert harmed(window)
    assert fewest(window, harmed) == [LONG]  # type: ignore[arg-type]


@pytest.mark.parametrize("bench", [()], indirect=True, ids=["honest"])
def test_a_power_cycle_behind_the_oracles_back_is_a_restart(bench: Bench) -> None:
    bench.fresh()
    oracle = Oracle(bench, "modbus-tcp", recovery=5)
    assert oracle.trouble() is None
    bench.power_cycle(before_on=0.6)  # longer than what clocks may differ by
    trouble = oracle.trouble()
    assert trouble is not None
    assert trouble.harm is Harm.RESTART


def test_a_finding_reads_back_as_written(tmp_path: Path) -> None:
    finding = Finding(
        device="d", surface="uds", claim="BASE-NO-CRASH", model="uds", seed=5, harm="restart", observed="gone",
        cases=(SHORT, LONG), confirmed=True, trials=2, testcase="a/b.py::test_uds[uds]",
    )  # fmt: skip
    path = write_finding(tmp_path, finding)
    assert path == tmp_path / "findings/test_uds-uds-5.json"
    assert read_finding(path) == finding


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"finding": 2}', '{"finding": 1, "device": "d"}'])
def test_what_is_no_finding_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "f.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=r"f\.json"):
        read_finding(path)


def test_a_finding_of_a_challenge_is_not_replayed(tmp_path: Path) -> None:
    finding = Finding(
        device="infusion-pump", surface="uds", claim="AVAILABILITY", model="uds", seed=1, harm="silence", observed="",
        cases=(LONG,), confirmed=True, trials=1, challenge="AVAILABILITY",
    )  # fmt: skip
    path = write_finding(tmp_path, finding)
    assert read_finding(path) == finding
    with pytest.raises(UsageError, match="AVAILABILITY was falsified"):
        replay_finding(load_rig(RIG), path)
