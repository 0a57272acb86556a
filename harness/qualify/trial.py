"""One trial: the testcases run on a flawed or lying device in a process of their own, and what each came to."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import BenchFault
from harness.journal import read_journal
from harness.verdict import Verdict

__all__ = ["Trial", "run_trial"]


@dataclass(frozen=True, slots=True)
class Trial:
    """Verdicts by `ID[instance]`, with the reasons, and the folder of the run.

    `unqualified` holds the ids of the testcases that say no weakness has proven them yet.
    """

    run_dir: Path
    verdicts: Mapping[str, Verdict]
    reasons: Mapping[str, str]
    exit_code: int
    output: str
    unqualified: frozenset[str]

    def of(self, verdict: Verdict) -> list[str]:
        """Return the testcases with this verdict."""
        return sorted(name for name, seen in self.verdicts.items() if seen is verdict)


def run_trial(
    rig: Path,
    *,
    testcases: Path,
    run_dir: Path,
    options: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    timeout: float = 1800.0,
) -> Trial:
    """Run testcases on `rig` with pytest `options`; `timeout` in seconds.

    Raises:
        BenchFault: the run left no journal, or did not end in time.
    """
    command = [sys.executable, "-m", "pytest", str(testcases), "--rig", str(rig), "--run-dir", str(run_dir)]
    command += ["--no-html", "-p", "no:cacheprovider", *options]
    try:
        done = subprocess.run(
            command,
            env={**os.environ, **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise BenchFault(f"the trial did not end within {timeout:g} s", hint=f"see {run_dir}") from error
    output = done.stdout.decode("utf-8", errors="backslashreplace")
    journal = run_dir / "journal.jsonl"
    if not journal.is_file():
        raise BenchFault(f"the trial left no journal: {output[-2000:]}")
    verdicts: dict[str, Verdict] = {}
    reasons: dict[str, str] = {}
    planned = _planned(run_dir)
    ids = {nodeid.split("[")[0]: about["id"] for nodeid, about in planned.items()}
    for nodeid in [n for entry in read_journal(journal).of("plan") for n in entry.data["testcases"]]:
        verdicts[_label(nodeid, ids)] = Verdict.NOT_RUN
    for entry in read_journal(journal).of("result"):
        label = _label(entry.data["testcase"], ids)
        verdicts[label] = Verdict(entry.data["verdict"])
        reasons[label] = entry.data["reason"]
    unqualified = frozenset(about["id"] for about in planned.values() if about["unqualified"])
    return Trial(run_dir, verdicts, reasons, done.returncode, output, unqualified)


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
