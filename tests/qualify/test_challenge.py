"""`proofrig challenge` on the sham pump: what is noticed, what is not, and what is not tried, each with its reason."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from harness.cli import main
from harness.journal import read_journal
from harness.qualify.falsify import falsifications, falsify
from harness.report.changes import previous_run
from harness.rig.loading import load_rig
from harness.verdict import EXIT_FAIL, EXIT_INCONCLUSIVE, EXIT_NOT_RUN, EXIT_USAGE

ROOT = Path(__file__).parents[2]
SHAM = ROOT / "tests/sham/rig.yaml"
DEVICE = ROOT / "rigs/devices/infusion-pump.yaml"

TESTCASES = """
from threading import Event
from harness.case import Case
from harness.rig.rig_file import Effect
from harness.testcase import About, Instance, each, testcase, verifies
ABOUT = About(property="integrity", phase="design", method="function", threat="none")
def case_of(name, **more):
    return testcase(name, title=name, tags=[verifies("NMPA-2022/VER-RULE")], about=ABOUT, **more)
def of(claim_id):
    return each("claim_id", lambda device: [Instance(claim_id, (claim_id,))])
def compare(case, claim_id, seen, wanted):
    case.attack("modbus-tcp", "a read")
    case.check("as claimed", held=seen == wanted, expected=wanted, observed=seen, claim=claim_id)

@case_of("TCP")
@of("PORTS")
def test_tcp(case, claim_id):
    compare(case, claim_id, case.bench.rig.device.claims[claim_id].tcp, (22, 443, 502))

@case_of("DEAF")
@of("VERSION")
def test_deaf(case, claim_id):
    compare(case, claim_id, "1.0.0", "1.0.0")

@case_of("LOCKS", effects=[Effect.ACCOUNTS])
@of("LOCKOUT")
def test_locks(case, claim_id):
    compare(case, claim_id, 3, 3)

@case_of("BROKEN")
@of("UDS-SECURITY")
def test_broken(case, claim_id):
    compare(case, claim_id, 2, 3)

@case_of("WAITS")
@of("BOOT-LOCKED")
def test_waits(case, claim_id):
    if case.bench.rig.falsified:
        Event().wait(100)
    compare(case, claim_id, 1, 1)
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with testcases, a rig that permits no effect, and a run on the unchanged files."""
    folder = tmp_path_factory.mktemp("challenge")
    (folder / "pytest.ini").write_text("[pytest]\naddopts = --import-mode=importlib\n")
    (folder / "test_some.py").write_text(TESTCASES)
    yaml = YAML()
    rig = yaml.load(SHAM.read_text())
    device = yaml.load(DEVICE.read_text())
    source = {"document": "none", "revision": "1", "section": "1"}
    nobody = {"type": "accounts", "surfaces": ["console"], "accounts": [], "source": source}
    device["claims"]["NOBODY"] = nobody
    device["claims"]["SCANNED"] = {**nobody, "status": "observed"}
    yaml.dump(device, folder / "device.yaml")
    rig["device"] = "device.yaml"
    rig["permits"] = []
    rig["bundles"] = str(SHAM.parent / "bundles")
    rig["links"]["ssh"]["key_file"] = str(SHAM.parent / "keys/client_ed25519")
    rig["control"]["command"] = [word.replace("{rig_dir}", str(SHAM.parent)) for word in rig["control"]["command"]]
    yaml.dump(rig, folder / "rig.yaml")
    code, rows, _ = challenge(folder, "first", "--claim", "VERSION", honest=False)
    assert (code, [row["result"] for row in rows]) == (EXIT_FAIL, ["unchallenged"])
    return folder


def words(folder: Path, name: str, *options: str, honest: bool = True) -> list[str]:
    """Return the arguments of a challenge in `folder / name`."""
    given = ["--honest", str(folder / "first/honest")] if honest else []
    return ["challenge", str(folder / "rig.yaml"), "--testcases", str(folder / "test_some.py"),
            "--run-dir", str(folder / name), *given, *options]  # fmt: skip


def challenge(folder: Path, name: str, *options: str, honest: bool = True) -> tuple[int, list[dict[str, Any]], Path]:
    """Challenge claims; return exit code, rows and folder."""
    code = main(words(folder, name, *options, honest=honest))
    return code, rows_of(folder / name), folder / name


def rows_of(run_dir: Path) -> list[dict[str, Any]]:
    return json.loads((run_dir / "challenge.json").read_text())["rows"]  # type: ignore[no-any-return]


def test_what_a_testcase_notices_and_what_none_does(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = place / "device.yaml"
    before = hashlib.sha256(file.read_bytes()).hexdigest()
    code, rows, _ = challenge(place, "noticed", "--claim", "PORTS", "--claim", "VERSION")
    assert [(row["falsification"], row["result"], row["noticed_by"]) for row in rows] == [
        ("tcp", "noticed", ["TCP [PORTS]"]),
        ("udp", "unchallenged", []),
        ("pattern", "unchallenged", []),
    ]
    assert rows[2]["detail"] == "DEAF [VERSION] PASS"
    assert code == EXIT_FAIL
    shown = capsys.readouterr().out
    assert "TCP 502 is no longer declared" in shown
    assert "1 noticed, 2 unchallenged" in shown
    assert hashlib.sha256(file.read_bytes()).hexdigest() == before


def test_no_trial_can_be_taken_for_evidence(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, _, folder = challenge(place, "marked", "--claim", "VERSION")
    trial = folder / "VERSION-pattern"
    marked = read_journal(trial / "journal.jsonl").entries[0].data["challenge"]
    assert marked["claim"] == "VERSION"
    assert "-none" in marked["how"]
    assert json.loads((trial / "summary.json").read_text())["challenge"] == marked
    assert not (trial / "allure-results").exists()
    assert read_journal(place / "first/honest/journal.jsonl").entries[0].data["challenge"] == {}
    capsys.readouterr()
    assert main(["report", str(trial)]) == 0
    assert "CHALLENGE, no evidence: claim VERSION is falsified" in capsys.readouterr().out
    assert not (trial / "coverage.html").exists()
    # Neither compared with, nor taken for the honest run, nor for the run before.
    assert main(["changes", str(place / "first/honest"), str(trial)]) == EXIT_USAGE
    assert main(["challenge", str(place / "rig.yaml"), "--honest", str(trial), "--run-dir", str(place / "x")]) == 4
    assert previous_run(place / "first/honest") is None


def test_what_the_rig_does_not_permit_is_named(place: Path) -> None:
    code, rows, folder = challenge(place, "permits", "--claim", "LOCKOUT")
    assert {row["result"] for row in rows} == {"not permitted"}
    assert "test_locks[LOCKOUT]" in rows[0]["detail"]
    assert "accounts" in rows[0]["detail"]
    assert code == EXIT_NOT_RUN
    assert [path.name for path in folder.iterdir()] == ["challenge.json"]


def test_a_claim_that_the_device_breaks_is_not_judged(place: Path) -> None:
    code, rows, _ = challenge(place, "broken", "--claim", "UDS-SECURITY")
    assert {(row["result"], row["detail"]) for row in rows} == {
        ("not judged", "on the unchanged file BROKEN [UDS-SECURITY] is FAIL")
    }
    assert code == EXIT_INCONCLUSIVE


def test_what_nobody_knows_how_to_falsify_is_listed(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, rows, _ = challenge(place, "nobody", "--claim", "NOBODY", "--claim", "SCANNED")
    assert [row["result"] for row in rows] == ["no falsification known", "not judged"]
    assert code == EXIT_INCONCLUSIVE
    assert "NOBODY (proposed)" in capsys.readouterr().out


def test_what_was_decided_outlives_an_interruption(place: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "harness.cli", *words(place, "cut", "--claim", "PORTS", "--claim", "BOOT-LOCKED")],
        stdout=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    trial = place / "cut/BOOT-LOCKED-prompt/journal.jsonl"
    wait_for(lambda: trial.exists() and read_journal(trial).of("case.start"))
    process.send_signal(signal.SIGINT)
    shown, _ = process.communicate(timeout=60)
    results = [row["result"] for row in rows_of(place / "cut")]
    assert results == ["noticed", "unchallenged", "not tried", "not tried"]
    assert "interrupted" in shown
    assert "2 not tried" in shown
    assert process.returncode == EXIT_FAIL
    assert read_journal(trial).of("run.end"), "the trial was not closed"


def wait_for(condition: Any, *, within: float = 90.0) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        threading.Event().wait(0.05)


def every() -> Iterator[tuple[str, str]]:
    rig = load_rig(SHAM)
    for claim_id in rig.device.claims:
        yield from ((claim_id, each.name) for each in falsifications(rig, claim_id))


@pytest.mark.parametrize(("claim_id", "name"), list(every()))
def test_each_falsification_says_something_else_of_its_claim_only(claim_id: str, name: str) -> None:
    rig = load_rig(SHAM)
    falsified = falsify(rig, claim_id, name)
    assert falsified.falsified is not None
    assert falsified.falsified.claim == claim_id
    assert falsified.falsified.how
    said = (falsified.device.claims[claim_id], falsified.device.surfaces, falsified.file.links)
    assert said != (rig.device.claims[claim_id], rig.device.surfaces, rig.file.links)
    others = [key for key in rig.device.claims if key != claim_id]
    assert [falsified.device.claims[key] for key in others] == [rig.device.claims[key] for key in others]
    # What a person could write into the file, too.
    type(falsified.device).model_validate(falsified.device.model_dump())
    type(falsified.file).model_validate(falsified.file.model_dump())


def test_every_claim_of_the_pump_can_be_falsified() -> None:
    assert {claim_id for claim_id, _ in every()} == set(load_rig(SHAM).device.claims)
    names = list(every())
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("wrong", [["--claim", "NOWHERE"], ["--testcases", "nowhere"], ["--honest", "nowhere"]])
def test_mistakes_are_named(wrong: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["challenge", str(SHAM), "--run-dir", str(tmp_path / "run"), *wrong]) == EXIT_USAGE
    assert "NOWHERE" in (error := capsys.readouterr().err) or "nowhere" in error
    assert "Traceback" not in error
