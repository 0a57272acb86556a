"""Equipment and photographs of a run: in every report, and what is overdue is named loudly."""

from __future__ import annotations

import hashlib
import json
from datetime import date, timedelta
from pathlib import Path

import pytest
from report_folders import HOSTILE, LOCKOUT, Folder

from harness.clauses.registry import load_registry
from harness.journal import Journal, read_journal
from harness.report.allure_results import complete_results
from harness.report.coverage_page import write_coverage
from harness.report.equipment import equipment_on
from harness.report.reading import read_run
from harness.report.summary import finish_report
from harness.rig.loading import load_rig
from harness.run import Run

ROOT = Path(__file__).parents[2]
TODAY = date.today()
SCOPE = {"name": "oscilloscope", "maker": "Rigol", "model": "DS1054", "serial": "DS1Z", "calibration_due": "2020-01-31"}
SUPPLY = {"name": "supply", "serial": HOSTILE, "calibration_due": (TODAY + timedelta(days=30)).isoformat()}
LOUD = "CALIBRATION OVERDUE since 2020-01-31: oscilloscope, Rigol DS1054, serial DS1Z"


@pytest.fixture
def rig(tmp_path: Path) -> Path:
    """The sham's rig, with equipment and a photograph."""
    text = (ROOT / "tests/sham/rig.yaml").read_text().replace("../../rigs/", f"{ROOT}/rigs/")
    (tmp_path / "bench view.jpg").write_bytes(b"\xff\xd8a bench\xff\xd9")
    path = tmp_path / "rig.yaml"
    path.write_text(f"{text}equipment: {json.dumps([SCOPE])}\nphotos: ['bench view.jpg']\n")
    return path


def _folder(path: Path) -> Path:
    """A run with equipment, one piece overdue."""
    folder = Folder(path, equipment=[SCOPE, SUPPLY, {"name": "cable", "calibration_due": "not required"}])
    folder.plan([LOCKOUT]).case(LOCKOUT, "PASS", "held")
    return folder.end()


def test_overdue_is_judged_by_the_day_of_the_run() -> None:
    due = date(2026, 3, 1)
    pieces = [{"name": "a", "calibration_due": due.isoformat()}, {"name": "b"}, {"name": "c", "calibration_due": "x"}]
    assert [each.overdue for each in equipment_on(due, pieces)] == [False, False, False]
    late, unstated, _ = equipment_on(due + timedelta(days=1), pieces)
    assert late.overdue
    assert str(late) == "a: CALIBRATION OVERDUE since 2026-03-01"
    assert str(unstated) == "b: calibration not stated"


def test_the_terminal_says_it_at_the_head_and_at_the_end(tmp_path: Path) -> None:
    lines: list[str] = []
    finish_report(_folder(tmp_path / "run"), html=False, write=lines.append)
    assert lines.count(LOUD) == 2
    head = next(number for number, each in enumerate(lines) if each.startswith("verdict"))
    assert lines.index(LOUD) < head
    assert lines[lines.index(LOUD, head) + 1].startswith("1 PASS")
    assert not any("supply" in each for each in lines)


def test_every_report_has_all_of_it(tmp_path: Path) -> None:
    path = _folder(tmp_path / "run")
    finish_report(path, html=False, write=lambda line: None)
    summary = json.loads((path / "summary.json").read_text())
    assert [(each["name"], each["overdue"]) for each in summary["equipment"]] == [
        ("oscilloscope", True),
        ("supply", False),
        ("cable", False),
    ]
    run = read_run(path)
    complete_results(run, path / "allure-results", load_registry())
    environment = (path / "allure-results/environment.properties").read_text()
    assert (
        "equipment 1 = oscilloscope, Rigol DS1054, serial DS1Z\\: CALIBRATION OVERDUE since 2020-01-31" in environment
    )
    assert "equipment 3 = cable\\: calibration not required" in environment
    write_coverage(run, path / "coverage.html", load_registry())
    page = (path / "coverage.html").read_text()
    assert "Equipment with its calibration overdue was used" in page
    assert '<dd class="missing">oscilloscope, Rigol DS1054, serial DS1Z: CALIBRATION OVERDUE since 2020-01-31' in page
    for shown in (environment, page, json.dumps(summary, ensure_ascii=False)):
        assert "\x1b" not in shown
        assert "\u202e" not in shown


def test_the_journal_has_equipment_and_photographs_from_the_start(tmp_path: Path, rig: Path) -> None:
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    run = Run(load_rig(rig), run_dir=run_dir)
    started, said = read_journal(run_dir / "journal.jsonl").entries[:2]
    assert (started.kind, said.kind) == ("run.start", "rig")
    assert said.data["equipment"] == [SCOPE]
    (photo,) = said.data["photos"]
    picture = (run_dir / photo["file"]).read_bytes()
    assert picture == (tmp_path / "bench view.jpg").read_bytes()
    assert photo["sha256"] == hashlib.sha256(picture).hexdigest()
    assert photo["file"] == f"photos/{photo['sha256'][:16]}-bench-view.jpg"
    run.journal.close()


def test_a_photograph_that_was_changed_or_lost_is_named(tmp_path: Path, rig: Path) -> None:
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    run = Run(load_rig(rig), run_dir=run_dir)
    _end(run.journal)
    assert read_run(run_dir).problems == ()
    (picture,) = (run_dir / "photos").iterdir()
    write_coverage(read_run(run_dir), run_dir / "coverage.html", load_registry())
    assert f'<a href="photos/{picture.name}">bench view.jpg</a>' in (run_dir / "coverage.html").read_text()
    picture.write_bytes(b"another bench")
    assert any("is not the photograph the journal recorded" in each for each in read_run(run_dir).problems)
    picture.unlink()
    assert any("cannot be read" in each for each in read_run(run_dir).problems)


def _end(journal: Journal) -> None:
    journal.write("run.end", exit_code=0, totals={}, not_run=[])
    journal.close()
