"""The history across nights, with the real generator and real Chromium; and all that can be wrong with its file."""

from __future__ import annotations

import base64
import json
import os
import re
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_browser import visit
from report_folders import FLOOD, HOSTILE, LOCKOUT, REPLAY, WAVES, Folder

from harness.errors import UsageError
from harness.report.history import LIMIT, SIZE_LIMIT, lent, parse
from harness.report.reading import RunRecord, read_run
from harness.report.summary import finish_report


def _finish(path: Path, history: Path) -> str:
    lines: list[str] = []
    finish_report(path, html=True, write=lines.append, history=history)
    return "\n".join(lines)


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three nights: all held; one broken, by a hostile device; killed. The second report is made again at the end."""
    folder = tmp_path_factory.mktemp("nights")
    history = folder / "history/sham.jsonl"
    first = Folder(folder / "night1").plan().case(LOCKOUT, "PASS", "held").case(REPLAY, "PASS", "held")
    first.case(FLOOD, "PASS", "held").finish(WAVES, "NOT APPLICABLE", reason="no waves")
    second = Folder(folder / "night2").plan().case(LOCKOUT, "PASS", "held")
    second.case(REPLAY, "FAIL", "broken", reason=f"accepted: {HOSTILE}", text=HOSTILE)
    second.case(FLOOD, "PASS", "held").finish(WAVES, "NOT APPLICABLE", reason="no waves")
    _finish(first.end(), history)
    _finish(second.end(), history)
    _finish(Folder(folder / "night3").plan().case(LOCKOUT, "PASS", "held").path, history)
    _finish(folder / "night2", history)
    return folder


def _points(history: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in history.read_text().splitlines()]


def _data(page: Path, name: str) -> Any:
    found = re.search(rf'd\("{name}","([A-Za-z0-9+/=]*)"\)', page.read_text(encoding="utf-8"))
    assert found, name
    return json.loads(base64.b64decode(found[1]))


def test_each_night_is_one_line_in_order_of_time(nights: Path) -> None:
    points = _points(nights / "history/sham.jsonl")
    assert [point["run"].split()[0] for point in points] == ["night1", "night2", "night3"]
    statuses = [
        {each["fullName"].split("::")[1]: each["status"] for each in point["testResults"].values()} for point in points
    ]
    replay, flood = "test_replay[can]", "test_flood[modbus]"
    assert [(each[replay], each[flood]) for each in statuses] == [
        ("passed", "passed"),
        ("failed", "passed"),
        ("unknown", "unknown"),
    ]
    assert len({tuple(sorted(point["testResults"])) for point in points}) == 1, "a testcase keeps its identity"
    assert [path.name for path in (nights / "history").iterdir()] == ["sham.jsonl"]


def test_the_page_shows_the_trends_up_to_its_own_run(nights: Path) -> None:
    for night, runs in (("night1", 1), ("night2", 2), ("night3", 3)):
        charts = _data(nights / night / "allure-report/index.html", r"widgets/charts\.json")["general"]
        shown = {chart["type"]: chart for chart in charts.values()}
        assert len(shown["statusDynamics"]["data"]) == runs, night
        assert len(shown["durationDynamics"]["data"]) == runs, night
    seen = visit(nights / "night3/allure-report/index.html", fragment="charts")
    for title in ("Verdicts, run by run", "Durations, run by run", "Changes of verdict, run by run"):
        assert title in seen.dom
    assert seen.foreign == ()
    assert not seen.owned


def test_the_history_of_a_testcase_is_in_the_page_and_runs_nothing(nights: Path) -> None:
    page = nights / "night3/allure-report/index.html"
    found = re.findall(r'd\("data/test-results/[^"]+\.json","([A-Za-z0-9+/=]*)"\)', page.read_text(encoding="utf-8"))
    results = [json.loads(base64.b64decode(each)) for each in found]
    (replay,) = [each for each in results if "CAN-REPLAY" in each["name"]]
    assert [each["status"] for each in replay["history"]] == ["failed", "passed"]
    seen = visit(page, fragment=f"{replay['id']}/history")
    assert len(re.findall(r"\d+/\d+/\d{4} at", seen.dom)) == 3, "two runs before, and when the page was made"
    assert not seen.owned
    assert seen.foreign == ()


def test_a_history_that_cannot_be_used_leaves_the_report(tmp_path: Path) -> None:
    path = Folder(tmp_path / "run").plan().case(LOCKOUT, "PASS", "held").end()
    (tmp_path / "history").mkdir()
    text = _finish(path, tmp_path / "history")
    assert "1 PASS" in text
    assert f"report:          {path}/allure-report/index.html" in text
    assert re.search(r"^history: +left out: .*Is a directory", text, re.MULTILINE)
    assert (path / "allure-report/index.html").is_file()


# The file


def _line(run: str, at: int, **results: str) -> str:
    found = {key: {"id": key, "name": key, "status": status, "duration": 5} for key, status in results.items()}
    point = {"uuid": f"uuid of {run}", "name": run, "timestamp": at, "knownTestCaseIds": [], "testResults": found}
    return json.dumps({**point, "run": run})


def _run(folder: Path) -> RunRecord:
    return read_run(Folder(folder).plan().end())


def _give_back(history: Path, run: RunRecord, *, wait: threading.Barrier | None = None) -> list[str]:
    """What Allure does with the copy; `wait` makes several do it at the same time."""
    said: list[str] = []
    with lent(history, run, say=said.append) as copy:
        with copy.open("a") as file:
            file.write(_line("as Allure calls it", 1, t="passed") + "\n")
        if wait:
            wait.wait(20)
    return said


def test_runs_that_end_together_all_stay(tmp_path: Path) -> None:
    history, wait = tmp_path / "history/rig.jsonl", threading.Barrier(8)
    runs = [_run(tmp_path / f"run{number}") for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(lambda run: _give_back(history, run, wait=wait), runs))
    assert said == [[]] * 8
    assert [point["run"].split()[0] for point in _points(history)] == [f"run{number}" for number in range(8)]


def test_the_oldest_runs_leave(tmp_path: Path) -> None:
    history = tmp_path / "rig.jsonl"
    history.write_text("".join(f"{_line(f'old{number}', number)}\n" for number in range(LIMIT)))
    assert _give_back(history, _run(tmp_path / "run")) == []
    names = [point["run"].split()[0] for point in _points(history)]
    assert names == [*(f"old{number}" for number in range(1, LIMIT)), "run"]


def test_what_is_damaged_is_set_aside_and_said(tmp_path: Path) -> None:
    history = tmp_path / "rig.jsonl"
    bad = f'{_line("a", 1)}\n\x00\xff{{"uuid":\n{_line("b", 2)}\n{_line("c", 3)[:-40]}'.encode("latin-1")
    history.write_bytes(bad)
    (sentence,) = _give_back(history, _run(tmp_path / "run"))
    assert "damaged in 2 lines; set aside as rig.damaged-" in sentence
    assert "the other 2 are kept" in sentence
    (aside,) = tmp_path.glob("rig.damaged-*.jsonl")
    assert aside.read_bytes() == bad
    assert [point["run"].split()[0] for point in _points(history)] == ["a", "b", "run"]


def test_a_file_too_long_is_set_aside_unread(tmp_path: Path) -> None:
    history = tmp_path / "rig.jsonl"
    with history.open("wb") as file:
        file.truncate(SIZE_LIMIT + 1)
    (sentence,) = _give_back(history, _run(tmp_path / "run"))
    assert "longer than 64 MiB; set aside" in sentence
    assert len(_points(history)) == 1


def test_a_generator_that_wrote_nothing_adds_nothing(tmp_path: Path) -> None:
    history, said = tmp_path / "rig.jsonl", list[str]()
    history.write_text(_line("a", 1) + "\n")
    with lent(history, _run(tmp_path / "run"), say=said.append):
        pass
    assert "was not added" in said[0]
    assert history.read_text() == _line("a", 1) + "\n"


def test_a_lock_that_is_never_released_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    from harness.report import history as module

    monkeypatch.setattr(module, "LOCK_S", 0.2)
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        run = _run(tmp_path / "run")
        with pytest.raises(UsageError, match="another process"), lent(tmp_path / "rig.jsonl", run, say=print):
            pass
    finally:
        os.close(folder)


JUNK = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
GOOD = json.loads(_line("good", 5, t="passed"))


@given(st.sampled_from([*GOOD, "status"]), JUNK)
def test_whatever_stands_in_a_line_is_refused_or_made_of_this_form(key: str, junk: object) -> None:
    point: dict[str, Any] = json.loads(json.dumps(GOOD))
    (point["testResults"]["t"] if key == "status" else point)[key] = junk
    _is_of_this_form(json.dumps(point).encode())


@given(st.binary(max_size=200))
def test_bytes_never_raise(junk: bytes) -> None:
    _is_of_this_form(junk)


def _is_of_this_form(text: bytes) -> None:
    points, damaged = parse(text)
    assert len(points) + damaged == len([line for line in text.split(b"\n") if line.strip()])
    for point in points:
        assert point.line.isascii()
        assert "\n" not in point.line
        again = parse(point.line.encode())
        assert again == ([point], 0)
        raw: Mapping[str, Any] = json.loads(point.line)
        assert raw["url"] == ""


def test_what_is_no_json_for_the_generator_is_refused() -> None:
    for text in (_line("a", 1).replace("1,", "NaN,"), "[" * 100_000, _line("a", 1, t="owned"), _line("a", 10**16)):
        assert parse(text.encode()) == ([], 1), text[:80]
    kept, _ = parse(json.dumps({**GOOD, "url": "javascript:alert(1)", "metrics": {"x": "y"}, "more": 1}).encode())
    assert "javascript" not in kept[0].line
