"""What becomes of the results of a run: the main journal, the workers', exit code and summary.

The main process owns the main journal; it records every result as it comes in, and the first and last hash
of each xdist worker's own journal.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from harness.errors import BenchFault, UsageError
from harness.record_file import remove_reserve
from harness.rig.loading import Rig
from harness.run import Run, make_run_dir
from harness.verdict import EXIT_NOT_RUN, Verdict, exit_code

__all__ = ["RunRecord"]

_WORDS = {
    Verdict.PASS: ("passed", "P", ("PASS", {"green": True})),
    Verdict.FAIL: ("failed", "F", ("FAIL", {"red": True})),
    Verdict.INCONCLUSIVE: ("inconclusive", "?", ("INCONCLUSIVE", {"yellow": True})),
    Verdict.NOT_APPLICABLE: ("not applicable", "-", ("NOT APPLICABLE", {"blue": True})),
    Verdict.NOT_RUN: ("not run", "!", ("NOT RUN", {"purple": True})),
}


class RunRecord:
    """The hooks of a run that concern its results, in the main process and in workers."""

    def __init__(self, config: pytest.Config, rig: Rig) -> None:
        self.config = config
        self.rig = rig
        self.worker: str = getattr(config, "workerinput", {}).get("workerid", "main")
        self.is_worker = hasattr(config, "workerinput")
        self.run: Run | None = None
        self.planned: list[str] = []
        self.undeclared: dict[str, str] = {}
        self.left_out: dict[str, str] = {}
        self.left_out_claims: dict[str, list[str]] = {}
        self.results: dict[str, tuple[Verdict, str]] = {}
        self._workers_seen: set[str] = set()
        against = config.getoption("--against")
        if against and against != "last" and not Path(against).is_dir():
            raise pytest.UsageError(f"--against {against}: is no folder of a run, nor the word last")
        if self.is_worker:
            self.run_dir = Path(config.workerinput["proofrig_run_dir"])  # type: ignore[attr-defined]
        else:
            self.run_dir = self._make_run_dir()

    def process(self) -> Run:
        """Return the record of this process, begun with its first line."""
        if self.run is None:
            settings = list(self.config.invocation_params.args)
            try:
                self.run_dir.mkdir(parents=True, exist_ok=True)
                self.run = Run(self.rig, run_dir=self.run_dir, worker=self.worker, settings=settings)
            except (OSError, BenchFault) as error:
                raise pytest.UsageError(f"the run cannot be recorded: {error}") from error
        return self.run

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: Any) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
        """Show verdicts instead of pytest's outcomes."""
        data = getattr(report, "proofrig", None)
        return _WORDS[Verdict(data["verdict"])] if data else None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the result of every testcase in the main journal, as it comes in."""
        data = getattr(report, "proofrig", None)
        if data is None or self.is_worker:
            return
        if data["worker"] != "main" and data["worker"] not in self._workers_seen:
            self._workers_seen.add(data["worker"])
            self.process().journal.write("worker.start", worker=data["worker"], first=data["first"])
        verdict = Verdict(data["verdict"])
        before = self.results.get(report.nodeid)
        if before is not None and before[0] is Verdict.FAIL:
            return
        self.results[report.nodeid] = (verdict, data["reason"])
        self.process().journal.write("result", testcase=report.nodeid, verdict=verdict.value, reason=data["reason"])

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell an xdist worker where the run lives."""
        if not self.rig.cloneable:
            raise pytest.UsageError(f"rig {self.rig.file.rig!r} has one device: -n cannot be used with it")
        node.workerinput["proofrig_run_dir"] = str(self.run_dir)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Record the last hash of a worker's journal."""
        end = getattr(node, "workeroutput", {}).get("proofrig")
        if end:
            self.process().journal.write("worker.end", **end)

    @pytest.hookimpl(optionalhook=True)
    def pytest_handlecrashitem(self, crashitem: str, report: pytest.TestReport) -> None:
        """A testcase whose worker died was not run to an end."""
        report.proofrig = {  # type: ignore[attr-defined]
            "verdict": Verdict.NOT_RUN.value,
            "reason": "the worker process died",
            "worker": "main",
            "first": "",
        }

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, None, None]:
        """Close bench and journal whatever happened; name what was not run; set the exit code."""
        try:
            if self.run is not None:
                self.run.close()
            yield
        finally:
            self._close(session)

    def _close(self, session: pytest.Session) -> None:
        if self.run is None:
            return
        journal = self.run.journal
        if self.is_worker:
            self.config.workeroutput["proofrig"] = {  # type: ignore[attr-defined]
                "worker": self.worker,
                "last": journal.head,
                "lines": journal.lines,
            }
            journal.close()
            return
        not_run = [nodeid for nodeid in self.planned if nodeid not in self.results]
        for nodeid in not_run:
            self.results[nodeid] = (Verdict.NOT_RUN, "the run ended before it")
        if session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            code = exit_code(verdict for verdict, _ in self.results.values())
            session.exitstatus = code or session.exitstatus
            if code == 0 and session.exitstatus == pytest.ExitCode.TESTS_FAILED:
                session.exitstatus = EXIT_NOT_RUN
        journal.write(
            "run.end",
            exit_code=int(session.exitstatus),
            totals=self.totals(),
            not_run=not_run,
        )
        journal.close()
        remove_reserve(self.run_dir)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Show the table, the totals and where everything is."""
        if self.run is None or self.is_worker:
            return
        from harness.report.summary import finish_report  # noqa: PLC0415  (reports are made at the end only)

        history = self.config.getoption("--history")
        try:
            finish_report(
                self.run_dir,
                html=not self.config.getoption("--no-html"),
                write=terminalreporter.write_line,
                history=Path(history) if history else None,
                against=self.config.getoption("--against"),
            )
        except (UsageError, OSError) as error:
            # The run stands as it is in the journal: a report that fails does not change its verdicts or exit code.
            terminalreporter.write_line(f"the reports could not be made: {error}")
            terminalreporter.write_line(f"  → the journal is whole; run `proofrig report {self.run_dir}` again")

    def totals(self) -> dict[str, int]:
        """Count the results by verdict."""
        counted = {verdict.value: 0 for verdict in Verdict}
        for verdict, _ in self.results.values():
            counted[verdict.value] += 1
        return counted

    def _make_run_dir(self) -> Path:
        given = self.config.getoption("--run-dir")
        if given:
            path = Path(given)
            if (path / "journal.jsonl").exists():
                raise pytest.UsageError(f"--run-dir {path}: holds a run already; a run is never overwritten")
            return path
        if self.config.option.collectonly:
            return Path("reports")
        return make_run_dir(self.config.rootpath / "reports", self.rig)
