"""The end of a run: what is printed and written, for whole and killed runs; and the clause coverage it rests on."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from report_folders import FLOOD, HOSTILE, LOCKOUT, REPLAY, WAVES, Folder
from rich.cells import cell_len

from harness.clauses.registry import load_registry
from harness.report import html
from harness.report.coverage_page import write_coverage
from harness.report.reading import read_run
from harness.report.summary import finish_report


def _finish(path: Path, *, html: bool = False) -> list[str]:
    lines: list[str] = []
    finish_report(path, html=html, write=lines.append)
    return lines


def _run(path: Path) -> Folder:
    folder = Folder(path).plan()
    reason = "\n".join(["LOCKOUT: the right password while locked", f"expected {HOSTILE}", *"abcdefg"])
    folder.case(LOCKOUT, "PASS", "held").case(REPLAY, "FAIL", "held", "broken", reason=reason)
    folder.finish(WAVES, "NOT APPLICABLE", reason="it has no waves")
    return folder


def test_what_is_printed(tmp_path: Path) -> None:
    folder = _run(tmp_path / "run")
    folder.main.write("deselected", testcases={"testcases/x.py::test_x": "the rig does not permit effects on firmware"})
    text = "\n".join(_finish(folder.end()))
    assert re.search(r"^PASS {12}AUTH-LOCKOUT \[console\] +NMPA-2022/PAUT ANSM-2019/CRIT-C$", text, re.MULTILINE)
    assert "1 PASS, 1 FAIL, 0 INCONCLUSIVE, 1 NOT APPLICABLE, 1 NOT RUN" in text
    assert "FAIL  CAN-REPLAY [can]\n    LOCKOUT: the right password while locked\n" in text
    assert "… 5 more lines in the report" in text
    assert "NOT APPLICABLE  CAN-WAVES [not-applicable]\n    it has no waves" in text
    assert "NOT RUN  AVAIL-FLOOD [modbus]\n    the run ended before it" in text
    assert "left out (the rig does not permit effects on firmware):\n    testcases/x.py::test_x" in text
    assert f"run folder:      {tmp_path / 'run'}" in text
    for char in ("\x1b", "\u202e", "\ud83d", "\0"):
        assert char not in text


def test_columns_count_the_cells_of_chinese_text(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "run")
    folder.main.write(
        "plan",
        plan_sha256="",
        testcases=["a[串口]", "b[can]"],
        about={
            "a[串口]": {"id": "A", "clauses": [{"clause": "NMPA-2022/PAUT", "strength": "verifies"}]},
            "b[can]": {"id": "B", "clauses": [{"clause": "NMPA-2022/PAUT", "strength": "verifies"}]},
        },
    )
    rows = [line for line in _finish(folder.end()) if line.endswith("NMPA-2022/PAUT")]
    assert len(rows) == 2
    assert len({cell_len(row[: row.index("NMPA")]) for row in rows}) == 1


def test_a_killed_run(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "run", worker="gw0").plan().case(LOCKOUT, "PASS", "held").start(FLOOD)
    (tmp_path / "run/journal-gw0.jsonl").open("ab").write(b'{"v":1,"se')
    text = "\n".join(_finish(folder.path))
    assert "1 PASS, 0 FAIL, 0 INCONCLUSIVE, 0 NOT APPLICABLE, 3 NOT RUN" in text
    assert "NOT RUN  AVAIL-FLOOD [modbus]\n    the run ended during it" in text
    for problem in ("the run did not end", "journal-gw0.jsonl: the last line is torn", "worker gw0 did not end"):
        assert problem in text
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert summary["ended"] == ""
    assert len(summary["problems"]) == 3


def test_summary_for_programs(tmp_path: Path) -> None:
    path = _run(tmp_path / "run").end()
    _finish(path)
    summary = json.loads((path / "summary.json").read_text())
    failed = next(each for each in summary["testcases"] if each["id"] == "CAN-REPLAY")
    assert (failed["verdict"], failed["checks"]) == ("FAIL", {"held": 1, "broken": 1, "undecided": 0})
    assert failed["clauses"] == [{"clause": "NMPA-2022/NAUT", "strength": "verifies"}]
    assert summary["clauses"]["NMPA-2022"]["NMPA-2022/NAUT"].startswith("1 claim met, 1 not, 0 undecided")
    assert "NMPA-2022/AUDT" in summary["clauses_without_testcase"]["NMPA-2022"]


def test_without_a_generator_the_rest_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _run(tmp_path / "run").end()
    monkeypatch.setattr(html, "_ROOT", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    text = "\n".join(_finish(path, html=True))
    assert "the Allure HTML was not made" in text
    assert "make setup" in text
    assert f"clause coverage: {path / 'coverage.html'}" in text
    assert (path / "coverage.html").is_file()


def test_coverage_page_says_what_is_and_what_is_not(tmp_path: Path) -> None:
    run = read_run(_run(tmp_path / "run").end())
    registry = load_registry()
    write_coverage(run, tmp_path / "coverage.html", registry)
    page = (tmp_path / "coverage.html").read_text(encoding="utf-8")
    for clause_id in registry.clauses:
        assert clause_id in page, clause_id
    for document in registry.documents.values():
        assert document.id in page
        if document.superseded_by:
            assert f"superseded by {document.superseded_by}" in page
    rows = dict(re.findall(r'<tr id="([^"]+)" class="clause[^"]*">(.*?)</tr>', page, re.DOTALL))
    roll_ups = [re.findall(r"<td[^>]*>(.*?)</td>", text, re.DOTALL)[-1] for text in rows.values()]
    assert any("1 claim met, 1 not, 0 undecided; reviewer&#39;s judgement pending" in text for text in roll_ups)
    assert not any("PASS" in text for text in roll_ups)
    derived = next(text for row, text in rows.items() if row.startswith("MDS2-2019-PAUT-"))
    assert "<b>derived</b>, confidence" in derived
    assert "(from NMPA-2022/PAUT)" in derived
    untested = next(text for row, text in rows.items() if row.startswith("NMPA-2022-AUDT-"))
    assert "no testcase" in untested
    side = page[page.index('id="side-by-side"') : page.index('class="filter"')]
    assert re.search(r"NMPA-2020/IFU-iface.*?NMPA-2022/IFU-iface", side, re.DOTALL)
    assert "identifier assigned by Proofrig" in page


def test_a_clause_this_catalogue_does_not_have_is_named(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "run")
    clauses = [{"clause": "OLD-1/X", "strength": "verifies"}]
    folder.main.write("plan", plan_sha256="", testcases=["a"], about={"a": {"id": "A", "clauses": clauses}})
    path = folder.end()
    (path / "allure-results").mkdir()
    _finish(path, html=False)
    write_coverage(read_run(path), path / "coverage.html", load_registry())
    assert "tagged with OLD-1/X, which this catalogue does not have" in (path / "coverage.html").read_text()
    assert any("OLD-1/X" in problem for problem in json.loads((path / "summary.json").read_text())["problems"])
