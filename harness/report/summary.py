"""The end of a run: `summary.json`, the Allure HTML, the coverage page, and the table on the terminal."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.clauses.model import Registry
from harness.clauses.registry import load_registry
from harness.clean import show_text
from harness.errors import UsageError
from harness.report.allure_results import complete_results
from harness.report.changes import compare, previous_run, read_side, side_of
from harness.report.changes_page import changes_lines, write_changes
from harness.report.coverage_page import write_coverage
from harness.report.equipment import equipment_of
from harness.report.history import lent
from harness.report.html import make_html
from harness.report.labels import line
from harness.report.qualification import AS_DECLARED, read_qualification
from harness.report.reading import CaseRecord, RunRecord, read_run
from harness.report.summary_json import summary_of
from harness.verdict import Verdict

__all__ = ["LAST", "finish_report", "terminal"]

REASON_LINES = 4
"""Lines of a reason shown on the terminal; the reports have all of it."""

_STYLE = {
    Verdict.PASS: "green",
    Verdict.FAIL: "bold red",
    Verdict.INCONCLUSIVE: "yellow",
    Verdict.NOT_APPLICABLE: "blue",
    Verdict.NOT_RUN: "magenta",
}


LAST = "last"
"""Names the run to compare with: the latest one before, beside it, of the same rig and device."""


def finish_report(
    run_dir: Path,
    *,
    html: bool,
    write: Callable[[str], None],
    history: Path | None = None,
    against: str | None = None,
) -> None:
    """Make the reports of a run, finished or killed, and say what it came to, line by line through `write`.

    Args:
        run_dir: the folder of the run.
        html: make the Allure HTML and the coverage page too.
        write: takes one line of the terminal at a time.
        history: the history file of the rig: the HTML shows its trends, and the run is added to it.
        against: folder of the run to say the changes from, or `LAST`.

    Raises:
        UsageError: the folder holds no run.
    """
    run = read_run(run_dir)
    made: list[tuple[str, str]] = [("run folder", str(run_dir))]
    changed: list[str] = []
    try:
        changed = _make(run, run_dir, html=html, history=history, against=against, made=made)
    finally:  # what the run came to is said even where no report can be written
        for each in (*_lines(run, made), *changed):
            write(each)


def _make(
    run: RunRecord, run_dir: Path, *, html: bool, history: Path | None, against: str | None, made: list[tuple[str, str]]
) -> list[str]:
    """Make the reports, each named in `made` as soon as it is there; return the lines that say what changed."""
    registry = load_registry()
    if run.challenge and (html or history or against):
        made.append(("report", "none: a challenge is no evidence"))
        html, history, against = False, None, None
    results = run_dir / "allure-results"
    if results.is_dir() or html:
        complete_results(run, results, registry)
    if html:
        made += _allure(run, results, registry, history)
        write_coverage(run, run_dir / "coverage.html", registry)
        made.append(("clause coverage", str(run_dir / "coverage.html")))
    elif history:
        made.append(("history", "not extended: it comes with the Allure HTML"))
    summary = summary_of(run)
    text = json.dumps(summary, indent=2, ensure_ascii=False) + "\n"
    (run_dir / "summary.json").write_text(text, encoding="utf-8")
    changed: list[str] = []
    if against:
        where, changed = _changes(run_dir, summary, against)
        made.append(("changes", where))
    return changed


def _allure(run: RunRecord, results: Path, registry: Registry, history: Path | None) -> Iterator[tuple[str, str]]:
    """Make the Allure HTML, with the trends of the history if there is one and it is of use."""
    make = partial(
        make_html,
        results,
        run.run_dir / "allure-report",
        name=line(f"{run.rig.get('device', 'device')} on {run.rig.get('rig', 'rig')} · {run.run}"),
        registry=registry,
    )
    said: list[str] = []
    try:
        page = None
        if history:
            try:
                with lent(history, run, say=said.append) as copy:
                    page = make(history=copy)
            except UsageError as error:
                said.append(f"left out: {error}")
        yield "report", str(page or make())
    except UsageError as error:
        yield "report", str(error)
        return
    if history:
        yield "history", str(history)
    for each in said:
        yield "history", each


def _changes(run_dir: Path, summary: Mapping[str, Any], against: str) -> tuple[str, list[str]]:
    """Compare the run with another; return where the page is, or why there is none, and the lines to show."""
    try:
        before = previous_run(run_dir) if against == LAST else Path(against)
        if before is None:
            return "none: no earlier run of this rig and device lies beside this one", []
        changes = compare(read_side(before), side_of(summary, where=str(run_dir)))
    except UsageError as error:
        return f"not known: {error}", []
    page = write_changes(changes, run_dir)
    width, colour = terminal()
    return str(page), list(changes_lines(changes, width=width, colour=colour))


# The terminal


def terminal() -> tuple[int, bool]:
    """Width of the terminal in cells, and whether it wants colour."""
    return max(60, shutil.get_terminal_size().columns), sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def _lines(run: RunRecord, made: list[tuple[str, str]]) -> Iterator[str]:
    width, colour = terminal()
    overdue = list(_overdue(run, colour=colour))
    yield ""
    if run.challenge:
        yield f"CHALLENGE, no evidence: claim {run.challenge['claim']} is falsified: {line(run.challenge['how'])}"
        yield ""
    yield from overdue
    yield from _table(run, width) if colour else _plain(run, width)
    yield from _reasons(run)
    yield from _asides(run)
    yield from _qualification(run)
    yield ""
    yield from overdue  # again: the table is long, and the end is what is read
    yield ", ".join(f"{number} {verdict}" for verdict, number in run.totals().items())
    for what, where in made:
        yield f"{what + ':':<17}{where}"


def _overdue(run: RunRecord, *, colour: bool) -> Iterator[str]:
    """Equipment whose calibration was overdue, loudly."""
    for piece in equipment_of(run):
        if piece.overdue:
            said = line(f"CALIBRATION OVERDUE since {piece.calibration_due}: {piece.identity}")
            yield f"\x1b[1;31m{said}\x1b[0m" if colour else said


def _table(run: RunRecord, width: int) -> list[str]:
    table = Table(box=None, pad_edge=False, header_style="bold", expand=False)
    table.add_column("verdict", no_wrap=True)
    table.add_column("testcase", no_wrap=True)
    table.add_column("clauses", overflow="fold", style="dim")
    for case in run.cases:
        table.add_row(Text(case.verdict.value, _STYLE[case.verdict]), Text(line(case.name)), Text(_clauses(case)))
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system="standard", highlight=False)
    with console.capture() as captured:
        console.print(table)
    return captured.get().rstrip("\n").split("\n")


def _plain(run: RunRecord, width: int) -> Iterator[str]:
    """The same without colours: columns aligned by the cells a character takes, so that Chinese text does not shift."""
    names = [line(case.name) for case in run.cases]
    column = min(max((cell_len(name) for name in names), default=8), width // 2)
    rows = [(case.verdict.value, name, _clauses(case)) for case, name in zip(run.cases, names, strict=True)]
    for verdict, name, clauses in [("verdict", "testcase", "clauses"), *rows]:
        # A name that is too long moves its clauses to the right rather than losing its end.
        shown = set_cell_size(name, column) if cell_len(name) <= column else name
        yield f"{verdict:<14}  {shown}  {clauses}".rstrip()


def _clauses(case: CaseRecord) -> str:
    return " ".join(tag.clause_id for tag in case.tags)


def _reasons(run: RunRecord) -> Iterator[str]:
    """The first lines of each reason, once for all testcases that share it."""
    shared: dict[tuple[Verdict, str], list[str]] = {}
    for case in run.cases:
        if case.verdict is not Verdict.PASS and case.reason:
            shared.setdefault((case.verdict, case.reason), []).append(line(case.name))
    for (verdict, reason), names in shared.items():
        yield ""
        yield f"{verdict.value}  {', '.join(names)}"
        lines = show_text(reason).splitlines()
        shown = lines if len(lines) <= REASON_LINES + 1 else lines[:REASON_LINES]
        yield from (f"    {each}" for each in shown)
        if len(lines) > len(shown):
            yield f"    … {len(lines) - len(shown)} more lines in the report"


def _asides(run: RunRecord) -> Iterator[str]:
    """What was left out, what the bench did wrong, and what is wrong with the record."""
    by_reason: dict[str, list[str]] = {}
    for nodeid, reason in run.left_out.items():
        by_reason.setdefault(reason, []).append(nodeid)
    for reason, nodeids in by_reason.items():
        yield ""
        yield f"left out ({line(reason)}):"
        yield from (f"    {line(nodeid)}" for nodeid in nodeids)
    for title, entries in (("bench faults", run.faults), ("the record is not whole", run.problems)):
        if entries:
            yield ""
            yield f"{title}:"
            yield from (f"    {line(entry)}" for entry in entries)


def _qualification(run: RunRecord) -> Iterator[str]:
    """What the weaknesses came to, if they were tried after this run."""
    trials = read_qualification(run.run_dir)
    if not trials:
        return
    counted = Counter(trial.result for trial in trials)
    yield ""
    yield f"qualification: {', '.join(f'{number} {result}' for result, number in counted.items())}"
    for trial in trials:
        if trial.result != AS_DECLARED:
            yield f"    {trial.name} {trial.result}: {line(trial.reason)}"
