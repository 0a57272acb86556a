"""One trial: the testcases run on a flawed or lying device in a process of their own, and what each came to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Timer
from typing import Any

from harness.errors import BenchFault, UsageError
from harness.journal import read_journal
from harness.verdict import EXIT_USAGE, Verdict

__all__ = ["Trial", "run_trial"]

CLOSES_WITHIN = 60.0
"""Seconds a trial that is interrupted gets to switch its device off and close its journal."""


@dataclass(frozen=True, slots=True)
class Trial:
    """Verdicts by `ID[instance]`, with the reasons, and the folder of the run."""

    run_dir: Path
    verdicts: Mapping[str, Verdict]
    reasons: Mapping[str, str]
    exit_code: int
    output: str

    def of(self, verdict: Verdict) -> list[str]:
        """Return the testcases with this verdict."""
        return sorted(name for name, seen in self.verdicts.items() if seen is verdict)


def run_trial(
    rig: Path,
    *,
    testcases: Path | Sequence[Path],
    run_dir: Path,
    options: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    timeout: float = 1800.0,
    follow: Callable[[str], None] = lambda line: None,
) -> Trial:
    """Run testcases on `rig` with pytest `options`; `timeout` in seconds; `follow` takes each line it prints.

    Raises:
        UsageError: pytest called it a mistake of the user's.
        BenchFault: the run left no journal, or did not end in time.
        KeyboardInterrupt: the run was interrupted too, and has closed its journal.
    """
    files = [testcases] if isinstance(testcases, Path) else testcases
    command = [sys.executable, "-m", "pytest", *map(str, files), "--rig", str(rig), "--run-dir", str(run_dir)]
    command += ["--no-html", "-p", "no:cacheprovider", *options]
    exit_code, output = _pytest(command, {**os.environ, **(environment or {})}, timeout=timeout, follow=follow)
    if exit_code is None:
        raise BenchFault(f"the trial did not end within {timeout:g} s", hint=f"see {run_dir}")
    journal = run_dir / "journal.jsonl"
    if exit_code == EXIT_USAGE and not journal.is_file():
        raise UsageError(output[-2000:].strip())
    if not journal.is_file():
        raise BenchFault(f"the trial left no journal: {output[-2000:]}")
    verdicts: dict[str, Verdict] = {}
    reasons: dict[str, str] = {}
    ids = {nodeid.split("[")[0]: about["id"] for nodeid, about in _planned(run_dir).items()}
    for nodeid in [n for entry in read_journal(journal).of("plan") for n in entry.data["testcases"]]:
        verdicts[_label(nodeid, ids)] = Verdict.NOT_RUN
    for entry in read_journal(journal).of("result"):
        label = _label(entry.data["testcase"], ids)
        verdicts[label] = Verdict(entry.data["verdict"])
        reasons[label] = entry.data["reason"]
    return Trial(run_dir, verdicts, reasons, exit_code, output)


def _pytest(
    command: Sequence[str], environment: Mapping[str, str], *, timeout: float, follow: Callable[[str], None]
) -> tuple[int | None, str]:
    """Run pytest; return its exit code, None when it was killed for taking too long, and what it printed."""
    late: list[float] = []
    lines: list[str] = []
    # A session of its own: a Ctrl-C in the terminal reaches it once, from here, and not twice.
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    ) as process:
        assert process.stdout is not None

        def kill() -> None:
            late.append(timeout)
            process.kill()

        timer = Timer(timeout, kill)
        timer.start()
        try:
            for raw in process.stdout:
                lines.append(raw.decode("utf-8", errors="backslashreplace"))
                follow(lines[-1].rstrip())
            process.wait()
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)
            try:
                process.communicate(timeout=CLOSES_WITHIN)
            except subprocess.TimeoutExpired:
                process.kill()
            raise
        finally:
            timer.cancel()
    return None if late else process.returncode, "".join(lines)


def _planned(run_dir: Path) -> dict[str, Mapping[str, Any]]:
    """Return what the plans in the run's journals say of each testcase."""
    return {
        nodeid: about
        for path in run_dir.glob("journal*.jsonl")
        for entry in read_journal(path).of("plan")
        for nodeid, about in entry.data["about"].items()
    }


def _label(nodeid: str, ids: Mapping[str, str]) -> str:
    function, bracket, instance = nodeid.partition("[")
    return ids.get(function, function) + bracket + instance
