"""The end of a run: `summary.json`, the Allure HTML, the coverage page, and the table on the terminal."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.clauses.registry import load_registry
from harness.clean import show_text
from harness.errors import UsageError
from harness.report.allure_results import complete_results
from harness.report.coverage_page import coverage_of, write_coverage
from harness.report.html import make_html
from harness.report.labels import line
from harness.report.reading import CaseRecord, RunRecord, read_run
from harness.verdict import CheckState, Verdict

__all__ = ["finish_report", "summary_of"]

REASON_LINES = 4
"""Lines of a reason shown on the terminal; the reports have all of it."""

_STYLE = {
    Verdict.PASS: "green",
    Verdict.FAIL: "bold red",
    Verdict.INCONCLUSIVE: "yellow",
    Verdict.NOT_APPLICABLE: "blue",
    Verdict.NOT_RUN: "magenta",
}


def finish_report(run_dir: Path, *, html: bool, write: Callable[[str], None]) -> None:
    """Make the reports of a run, finished or killed, and say what it came to, line by line through `write`.

    Args:
        run_dir: the folder of the run.
        html: make the Allure HTML and the coverage page too.
        write: takes one line of the terminal at a time.

    Raises:
        UsageError: the folder holds no run.
    """
    run = read_run(run_dir)
    registry = load_registry()
    made: list[tuple[str, str]] = [("run folder", str(run_dir))]
    results = run_dir / "allure-results"
    if results.is_dir() or html:
        complete_results(run, results, registry)
    if html:
        name = f"{run.rig.get('device', 'device')} on {run.rig.get('rig', 'rig')} · {run.run}"
        try:
            page = make_html(results, run_dir / "allure-report", name=line(name), registry=registry)
            made.append(("report", str(page)))
        except UsageError as error:
            made.append(("report", str(error)))
        write_coverage(run, run_dir / "coverage.html", registry)
        made.append(("clause coverage", str(run_dir / "coverage.html")))
    text = json.dumps(summary_of(run), indent=2, ensure_ascii=False) + "\n"
    (run_dir / "summary.json").write_text(text, encoding="utf-8")
    for each in _lines(run, made):
        write(each)


def summary_of(run: RunRecord) -> dict[str, Any]:
    """The run in short, for programs: testcases with verdict, reason and checks; clauses; what went wrong."""
    documents, unknown = coverage_of(run, load_registry())
    return {
        "run": run.run,
        "operator": run.operator,
        "started": run.started,
        "ended": run.ended,
        "exit_code": run.exit_code,
        "rig": run.rig.get("rig", ""),
        "device": run.rig.get("device", ""),
        "item": run.rig.get("item", {}),
        "grade": run.rig.get("grade", ""),
        "weaknesses": run.image.get("weaknesses", []),
        "totals": run.totals(),
        "testcases": [_case(case) for case in run.cases],
        "left_out": {line(nodeid): show_text(reason) for nodeid, reason in run.left_out.items()},
        "faults": [show_text(fault) for fault in run.faults],
        "problems": [*run.problems, *(f"tagged with unknown clause {clause}" for clause in unknown)],
        "clauses": {
            each.document.id: {row.clause.id: row.roll_up for row in each.clauses if row.results} for each in documents
        },
        "clauses_without_testcase": {each.document.id: list(each.untested) for each in documents if each.untested},
    }


def _case(case: CaseRecord) -> dict[str, Any]:
    return {
        "testcase": line(case.nodeid),
        "id": case.id,
        "title": case.title,
        "version": case.version,
        "verdict": case.verdict.value,
        "reason": show_text(case.reason),
        "clauses": [{"clause": tag.clause_id, "strength": tag.strength.value} for tag in case.tags],
        "checks": {state.value: case.count(state) for state in CheckState},
        "attempts": case.attempts,
        "seconds": round(case.seconds, 3),
    }


# The terminal


def _lines(run: RunRecord, made: list[tuple[str, str]]) -> Iterator[str]:
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    width = max(60, shutil.get_terminal_size().columns)
    yield ""
    yield from _table(run, width) if colour else _plain(run, width)
    yield from _reasons(run)
    yield from _asides(run)
    yield ""
    yield ", ".join(f"{number} {verdict}" for verdict, number in run.totals().items())
    for what, where in made:
        yield f"{what + ':':<17}{where}"


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
