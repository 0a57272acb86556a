"""What changed between two runs: the tables, the page in real Chromium, killed runs, damaged summaries; on the sham."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_browser import visit
from report_folders import FLOOD, HOSTILE, LOCKOUT, REPLAY, WAVES, Folder

from harness.errors import UsageError
from harness.fuzz.cases import FuzzCase
from harness.fuzz.findings import Finding, write_finding
from harness.report.changes import Kind, changes_json, compare, previous_run, read_side, side_of
from harness.report.changes_page import changes_lines, write_changes
from harness.report.summary import finish_report
from harness.verdict import Verdict

ROOT = Path(__file__).parents[2]


def _finish(path: Path, against: str = "") -> str:
    lines: list[str] = []
    finish_report(path, html=False, write=lines.append, against=against or None)
    return "\n".join(lines)


def _finding(run: Path, data: bytes, *, seed: int = 1) -> None:
    case = FuzzCase("by hand", data)
    write_finding(
        run,
        Finding(
            "pump", "uds", "AVAIL", "model", seed, "restart", HOSTILE, (case,), True, 1, testcase=f"x::{data.hex()}"
        ),
    )


def _junit(run: Path, **failures: str) -> None:
    cases = "".join(
        f'<testcase name="test_weaknesses_fail_their_declared_sets_and_no_other[{name}]">'
        + f'<failure message="{why}"/>' * bool(why)
        + "</testcase>"
        for name, why in failures.items()
    )
    (run / "qualification.xml").write_text(f"<testsuites><testsuite>{cases}</testsuite></testsuites>")


@pytest.fixture
def nights(tmp_path: Path) -> tuple[Path, Path]:
    """Two nights; in the second LOCKOUT fails, REPLAY is fixed, FLOOD was not planned and WAVES is new."""
    old = Folder(tmp_path / "old").plan([LOCKOUT, REPLAY, FLOOD])
    old.case(LOCKOUT, "PASS", "held").case(REPLAY, "FAIL", "broken", reason="accepted").case(FLOOD, "PASS", "held")
    new = Folder(tmp_path / "new").plan([LOCKOUT, REPLAY, WAVES])
    new.case(LOCKOUT, "FAIL", "broken", reason=f"open: {HOSTILE}\nmore").case(REPLAY, "PASS", "held")
    new.finish(WAVES, "NOT APPLICABLE", reason="no waves")
    new.main.write("deselected", testcases={FLOOD: "the rig does not permit effects on firmware"})
    for run, findings in ((old.end(), (b"same", b"gone")), (new.end(), (b"same", b"new"))):
        for data in findings:
            _finding(run, data)
    _junit(tmp_path / "old", flaw="", other="")
    _junit(tmp_path / "new", flaw="nobody noticed", other="")
    return tmp_path / "old", tmp_path / "new"


def test_every_change_is_named_new_failures_first(nights: tuple[Path, Path]) -> None:
    changes = compare(*map(read_side, nights))
    assert [(each.kind, each.name, each.before, each.now) for each in changes.testcases] == [
        (Kind.NEW_FAILURE, "AUTH-LOCKOUT [console]", Verdict.PASS, Verdict.FAIL),
        (Kind.VANISHED, "AVAIL-FLOOD [modbus]", Verdict.PASS, None),
        (Kind.FIXED, "CAN-REPLAY [can]", Verdict.FAIL, Verdict.PASS),
        (Kind.NEW, "CAN-WAVES [not-applicable]", None, Verdict.NOT_APPLICABLE),
    ]
    assert changes.of(Kind.VANISHED)[0].reason == "the rig does not permit effects on firmware"
    assert len(changes.findings_new) == len(changes.findings_gone) == 1
    assert [(each.what, each.before, each.now) for each in changes.qualification] == [
        ("flaw", "as declared", "not as declared")
    ]
    assert changes.sentence == (
        "1 new failure, 1 vanished, 1 fixed, 1 new testcase, 1 finding new, 1 finding gone, 1 weakness changed"
    )


def test_nothing_changed_is_said(nights: tuple[Path, Path]) -> None:
    side = read_side(nights[0])
    changes = compare(side, side)
    assert (changes.testcases, changes.circumstances, changes.qualification) == ((), (), ())
    assert changes.still == {Verdict.FAIL: ("CAN-REPLAY [can]",)}
    assert changes.sentence == "1 still FAIL"


def test_what_else_may_explain_a_change_is_named(tmp_path: Path) -> None:
    sides = []
    for night, disk, flaws in (("1", "a" * 64, []), ("2", "b" * 64, ["no-lockout"])):
        folder = Folder(tmp_path / night).plan()
        images = {"disk.qcow2": disk, "u-boot.bin": "c" * 64}
        folder.main.write("image", image_sha256=images, lock_sha256="", weaknesses=flaws)
        sides.append(read_side(folder.end()))
    assert [(each.what, each.before, each.now) for each in compare(*sides).circumstances] == [
        ("weaknesses switched on", "", "no-lockout"),
        ("image disk.qcow2", "a" * 16, "b" * 16),
    ]


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        (["-k", "x", "--run-dir", "a", "--against=last"], "-k x"),
        (["--history", "h", "--rig", "r"], "--rig r"),
        (["--run-dir"], ""),
    ],
)
def test_options_that_only_say_where_are_no_circumstance(settings: list[str], kept: str) -> None:
    assert side_of({**SUMMARY, "settings": settings}, where="").circumstances["options"] == kept


def test_what_is_written_and_printed(nights: tuple[Path, Path]) -> None:
    old, new = nights
    text = _finish(new, against=str(old))
    assert f"changes:         {new}/changes.html" in text
    assert "changes since old: 1 new failure, 1 vanished" in text
    assert "qualification: 1 not as declared, 1 as declared" in text
    for char in ("\x1b", "\u202e", "\ud83d", "\0"):
        assert char not in text
    written = json.loads((new / "changes.json").read_text())
    assert written["testcases"][0] | {"reason": ""} == {
        "kind": "new failure",
        "name": "AUTH-LOCKOUT [console]",
        "title": "An account is locked",
        "before": "PASS",
        "now": "FAIL",
        "reason": "",
    }
    summary = json.loads((new / "summary.json").read_text())
    assert [each["result"] for each in summary["qualification"]] == ["not as declared", "as declared"]
    assert "    flaw not as declared: nobody noticed" in text


def test_the_page_shows_it_and_runs_nothing(nights: tuple[Path, Path]) -> None:
    changes = compare(*map(read_side, nights))
    seen = visit(write_changes(changes, nights[1]))
    assert not seen.owned
    assert seen.foreign == ()
    assert "<script" not in seen.dom
    for text in ("AUTH-LOCKOUT [console]", "&lt;script&gt;", "Findings: new", "not as declared", changes.sentence):
        assert text in seen.dom, text


def test_colours_only_where_wanted(nights: tuple[Path, Path]) -> None:
    changes = compare(*map(read_side, nights))
    assert any("\x1b[1;31mnew failure" in line for line in changes_lines(changes, width=120, colour=True))
    assert not any("\x1b" in line for line in changes_lines(changes, width=120, colour=False))


# Killed runs, and runs of which less is left


def test_a_killed_run_names_what_was_not_run(nights: tuple[Path, Path], tmp_path: Path) -> None:
    folder = Folder(tmp_path / "killed", worker="gw0").plan([LOCKOUT, REPLAY, FLOOD], about=False)
    folder.case(LOCKOUT, "PASS", "held").start(REPLAY)
    changes = compare(read_side(nights[0]), read_side(folder.path))
    assert [(each.kind, each.now) for each in changes.testcases] == [
        (Kind.LOST, Verdict.NOT_RUN),  # CAN-REPLAY was a FAIL: that nobody decided is not its repair
        (Kind.LOST, Verdict.NOT_RUN),
    ]
    text = "\n".join(changes_lines(changes, width=200, colour=False))
    assert f"killed did not end; NOT RUN: CAN-REPLAY [can], {FLOOD}" in text
    assert changes_json(changes)["new"]["not_run"] == ["CAN-REPLAY [can]", FLOOD]
    back = compare(read_side(folder.path), read_side(nights[0]))
    assert [each.kind for each in back.testcases] == [Kind.NEW_FAILURE, Kind.DECIDED]


def test_a_summary_alone_is_enough(nights: tuple[Path, Path], tmp_path: Path) -> None:
    old, new = nights
    whole = compare(read_side(old), read_side(new))
    _finish(old)
    (tmp_path / "kept").mkdir()
    (old / "summary.json").rename(tmp_path / "kept/summary.json")
    assert compare(read_side(tmp_path / "kept"), read_side(new)) == whole


def test_a_testcase_that_moved_to_another_file_is_the_same(nights: tuple[Path, Path]) -> None:
    _finish(nights[0])
    summary = json.loads((nights[0] / "summary.json").read_text())
    before = side_of(summary, where="")
    for each in summary["testcases"]:
        each["testcase"] = each["testcase"].replace("testcases/", "testcases/elsewhere/")
    assert compare(before, side_of(summary, where="")).testcases == ()


@pytest.mark.parametrize(
    ("before", "now", "shown"), [(4, 12, True), (12, 4, True), (0.1, 4, False), (100, 190, False), (100, 210, True)]
)
def test_durations(nights: tuple[Path, Path], before: float, now: float, shown: bool) -> None:
    _finish(nights[0])
    summary = json.loads((nights[0] / "summary.json").read_text())
    sides = []
    for seconds in (before, now):
        summary["testcases"][0]["seconds"] = seconds
        sides.append(side_of(summary, where=""))
    durations = [(each.what, each.before, each.now) for each in compare(*sides).durations]
    assert durations == ([("AUTH-LOCKOUT [console]", f"{before:.1f} s", f"{now:.1f} s")] if shown else [])


def test_a_qualification_that_was_killed_does_not_look_like_none(nights: tuple[Path, Path]) -> None:
    old, new = nights
    (new / "qualification.xml").write_text("<testsuites><testsuite><testcase na")
    assert "qualification: 1 not tried" in _finish(new)
    (new / "qualification.xml").unlink()
    assert compare(read_side(old), read_side(new)).qualification == ()


def test_a_finding_that_cannot_be_read_is_a_problem(nights: tuple[Path, Path]) -> None:
    (nights[1] / "findings/bad.json").write_text("{")
    assert any("findings/bad.json" in problem for problem in read_side(nights[1]).problems)


def test_the_last_run_is_that_of_the_same_rig_and_device(nights: tuple[Path, Path], tmp_path: Path) -> None:
    old, new = nights
    (tmp_path / "stray").mkdir()
    (tmp_path / "stray/journal.jsonl").write_text("{}\n[]\n")
    other = Folder(tmp_path / "other").plan().end()
    (other / "journal.jsonl").unlink()
    _finish(old)
    summary = json.loads((old / "summary.json").read_text())
    (other / "summary.json").write_text(json.dumps({**summary, "rig": "another", "started": "2026-01-01"}))
    assert previous_run(new) == old
    assert previous_run(old) is None
    assert "changes:         none: no earlier run" in _finish(old, against="last")
    assert "changes:         not known: " in _finish(old, against=str(tmp_path / "nowhere"))
    with pytest.raises(UsageError, match="holds no run"):
        previous_run(tmp_path / "stray")


KEYS = (
    "run",
    "problems",
    "testcases",
    "left_out",
    "findings",
    "qualification",
    "item",
    "weaknesses",
    "tools",
    "settings",
)
JUNK = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
SUMMARY: dict[str, Any] = {
    **dict.fromkeys(("run", "rig", "device", "started", "ended", "operator"), "x"),
    **dict.fromkeys(("problems", "testcases", "findings", "qualification", "weaknesses", "settings"), ()),
    **dict.fromkeys(("item", "left_out", "tools"), {}),
}


@given(st.sampled_from(KEYS), JUNK)
def test_whatever_stands_in_a_summary_is_read_or_refused(key: str, junk: object) -> None:
    try:
        side = side_of({**SUMMARY, key: junk}, where="summary.json")
    except UsageError:
        return
    assert compare(side, side).testcases == ()


# As a user would


def test_two_nights_of_the_sham_with_a_flaw_in_the_second(tmp_path: Path) -> None:
    history = tmp_path / "nights/history/sham.jsonl"
    testcase = "testcases/can/test_command_authentication.py"
    outputs = []
    for night, flaw in (("1", []), ("2", ["--weakness", "can-no-auth"])):
        done = _proofrig(
            "run", "tests/sham/rig.yaml", testcase, "--run-dir", str(tmp_path / "nights" / night),
            "--history", str(history), "--against", "last", *flaw,
        )  # fmt: skip
        outputs.append(done.stdout)
    assert "changes:         none: no earlier run" in outputs[0]
    assert "changes since 1: 1 new failure, " in outputs[1] or "changes since 1: 1 new failure\n" in outputs[1]
    assert f"history:         {history}" in outputs[1]
    points = [json.loads(line) for line in history.read_text().splitlines()]
    assert [[each["status"] for each in point["testResults"].values()] for point in points] == [["passed"], ["failed"]]
    nights = [str(tmp_path / "nights" / night) for night in ("1", "2")]
    again = _proofrig("changes", *nights, "--write", str(tmp_path / "written"))
    assert again.returncode == 10
    assert "CAN-AUTHENTICATOR" in again.stdout
    assert json.loads((tmp_path / "written/changes.json").read_text())["testcases"][0]["now"] == "FAIL"
    assert _proofrig("changes", *reversed(nights)).returncode == 0
    assert _proofrig("changes", nights[0], str(tmp_path)).returncode == 4


def test_a_run_to_compare_with_that_is_not_there_stops_before_anything_runs(tmp_path: Path) -> None:
    done = _proofrig("run", "tests/sham/rig.yaml", "--run-dir", str(tmp_path / "run"), "--against", str(tmp_path / "x"))
    assert done.returncode == 4
    assert "is no folder of a run, nor the word last" in done.stderr
    assert not (tmp_path / "run").exists()


def _proofrig(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "harness.cli", *arguments],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
