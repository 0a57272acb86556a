"""Runs are read back whole; what is missing, damaged or unsupported is said and never shown as a pass."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from report_folders import FLOOD, LOCKOUT, REPLAY, WAVES, Folder

from harness.errors import UsageError
from harness.report.reading import CaseRecord, RunRecord, read_run
from harness.verdict import CheckState, Verdict


def _case(run: RunRecord, nodeid: str) -> CaseRecord:
    return next(case for case in run.cases if case.nodeid == nodeid)


def test_a_whole_run(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "run").plan()
    folder.case(LOCKOUT, "PASS", "held", "held").case(REPLAY, "FAIL", "held", "broken", reason="it was accepted")
    folder.finish(WAVES, "NOT APPLICABLE", reason="it has no waves")
    run = read_run(folder.end())

    assert run.problems == ()
    assert run.totals() == {"PASS": 1, "FAIL": 1, "INCONCLUSIVE": 0, "NOT APPLICABLE": 1, "NOT RUN": 1}
    locked = _case(run, LOCKOUT)
    assert locked.name == "AUTH-LOCKOUT [console]"
    assert [tag.clause_id for tag in locked.tags] == ["NMPA-2022/PAUT", "ANSM-2019/CRIT-C"]
    assert locked.count(CheckState.HELD) == 2
    assert locked.about["method"] == "function"
    assert _case(run, REPLAY).reason == "it was accepted"
    # What never began is known from the plan.
    flood = _case(run, FLOOD)
    assert (flood.verdict, flood.reason) == (Verdict.NOT_RUN, "the run ended before it")
    assert flood.title == "A flood is withstood"


def test_workers_are_merged(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "run", worker="gw0").plan([LOCKOUT], about=False).case(LOCKOUT, "PASS", "held")
    run = read_run(folder.end())
    assert run.problems == ()
    assert (run.cases[0].verdict, run.cases[0].worker, run.cases[0].id) == (Verdict.PASS, "gw0", "AUTH-LOCKOUT")


def test_a_repetition_counts_its_last_checks_and_never_overwrites_a_fail(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "run").plan([LOCKOUT, REPLAY])
    folder.start(LOCKOUT).check(LOCKOUT, "undecided").finish(LOCKOUT, "INCONCLUSIVE", result=False)
    folder.start(LOCKOUT, attempt=2).check(LOCKOUT).finish(LOCKOUT, "PASS", attempt=2)
    folder.start(REPLAY).check(REPLAY, "broken").finish(REPLAY, "FAIL", reason="accepted", result=False)
    folder.start(REPLAY, attempt=2).check(REPLAY).finish(REPLAY, "PASS", attempt=2)
    run = read_run(folder.end())
    locked, replayed = _case(run, LOCKOUT), _case(run, REPLAY)
    assert (locked.verdict, locked.attempts, locked.seconds) == (Verdict.PASS, 2, 0.5)
    assert [check.state for check in locked.checks] == [CheckState.HELD]
    assert (replayed.verdict, replayed.reason) == (Verdict.FAIL, "accepted")


def test_a_killed_process_leaves_a_run_that_can_be_read(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys; from pathlib import Path\n"
        "from report_folders import *\n"
        f"f = Folder(Path({str(tmp_path / 'run')!r})).plan()\n"
        "f.case(LOCKOUT, 'PASS', 'held').start(REPLAY).check(REPLAY)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    paths = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[2])])
    done = subprocess.run([sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": paths}, check=False)
    assert done.returncode == -signal.SIGKILL
    run = read_run(tmp_path / "run")
    assert run.problems == ("the run did not end: it was killed or crashed",)
    assert _case(run, LOCKOUT).verdict is Verdict.PASS
    assert (_case(run, REPLAY).verdict, _case(run, REPLAY).reason) == (Verdict.NOT_RUN, "the run ended during it")
    assert (_case(run, FLOOD).verdict, _case(run, FLOOD).reason) == (Verdict.NOT_RUN, "the run ended before it")


def test_a_changed_line_ends_what_is_believed(tmp_path: Path) -> None:
    path = Folder(tmp_path / "run").plan([LOCKOUT, REPLAY]).case(LOCKOUT, "PASS", "held").end() / "journal.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"state":"held"', b'"state":"HELD"'))
    run = read_run(tmp_path / "run")
    assert any("the chain breaks at line 6" in problem for problem in run.problems)
    assert _case(run, LOCKOUT).verdict is Verdict.NOT_RUN


def test_a_torn_tail_is_said(tmp_path: Path) -> None:
    path = Folder(tmp_path / "run").plan([LOCKOUT]).case(LOCKOUT, "PASS", "held").end() / "journal.jsonl"
    path.write_bytes(path.read_bytes()[:-7])
    run = read_run(tmp_path / "run")
    assert any("last line is torn" in problem for problem in run.problems)
    assert any("did not end" in problem for problem in run.problems)
    assert run.cases[0].verdict is Verdict.PASS


@pytest.mark.parametrize("damage", ["missing", "cut", "replaced", "changed"])
def test_a_pass_without_its_checks_is_no_pass(tmp_path: Path, damage: str) -> None:
    folder = Folder(tmp_path / "run", worker="gw0").plan([LOCKOUT]).case(LOCKOUT, "PASS", "held")
    path = folder.end() / "journal-gw0.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    match damage:
        case "missing":
            path.unlink()
        case "cut":
            path.write_bytes(b"".join(lines[:-1]))
        case "replaced":
            path.unlink()
            Folder(tmp_path / "other", worker="gw0").plan([LOCKOUT]).end()
            (tmp_path / "other/journal-gw0.jsonl").rename(path)
        case "changed":
            path.write_bytes(b"".join(lines).replace(b"LOCKOUT", b"LOCKED!", 1))
    run = read_run(tmp_path / "run")
    assert run.cases[0].verdict is Verdict.INCONCLUSIVE
    assert any("journal-gw0.jsonl" in problem for problem in run.problems)
    assert any(problem.startswith("recorded as PASS") for problem in run.problems)


def test_a_worker_that_died_before_its_first_result(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "run", worker="gw0").plan([LOCKOUT])
    folder.start(LOCKOUT)
    run = read_run(folder.path)
    assert any("does not know this worker" in problem for problem in run.problems)
    assert (run.cases[0].verdict, run.cases[0].reason) == (Verdict.NOT_RUN, "the run ended during it")


def test_no_run_here(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no journal\.jsonl"):
        read_run(tmp_path)
    (tmp_path / "journal.jsonl").write_bytes(b'{"v":1,')
    with pytest.raises(UsageError, match="no whole line"):
        read_run(tmp_path)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 10_000), flip=st.none() | st.integers(0, 10_000))
@example(cut=1957, flip=1559)  # in the last line, in the name of a tag's clause
def test_no_damage_makes_a_pass(tmp_path: Path, cut: int, flip: int | None) -> None:
    """Cut anywhere, with or without a byte changed: it reads, or says why not, and the failed testcase never passes."""
    path = tmp_path / "run/journal.jsonl"
    if not path.exists():
        folder = Folder(tmp_path / "run").plan([LOCKOUT, REPLAY]).case(LOCKOUT, "FAIL", "broken", reason="open")
        folder.case(REPLAY, "INCONCLUSIVE", "undecided").end()
        path.rename(tmp_path / "whole")
    blob = bytearray((tmp_path / "whole").read_bytes())
    if flip is not None:
        blob[flip % len(blob)] ^= 1
    path.write_bytes(bytes(blob[: cut % (len(blob) + 1)]))
    try:
        run = read_run(tmp_path / "run")
    except UsageError:
        return
    assert all(case.verdict is not Verdict.PASS for case in run.cases)
    assert run.problems or len(blob) == cut
