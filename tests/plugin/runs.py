"""Running small testcases on the sham pump in a pytest process of their own, as a user would."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.journal import Reading, read_journal

ROOT = Path(__file__).parents[2]
RIG = ROOT / "tests/sham/rig.yaml"
HEAD = """
import os, signal, time
from harness.case import Case
from harness.rig.rig_file import Effect
from harness.testcase import About, Instance, contributes, each, testcase, verifies
from harness.watch import IncidentKind
ABOUT = About(property="integrity", phase="design", method="function", threat="none")
def case_of(name, tag="NMPA-2022/VER-RULE", **more):
    return testcase(name, title=name, tags=[verifies(tag)], about=ABOUT, **more)
def good(case):
    case.attack("modbus-tcp", "a read")
    case.check("the version", held=True, expected="1", observed="1", claim="VERSION")
"""


@dataclass(frozen=True)
class Outcome:
    """What a run printed and left."""

    code: int
    output: str
    run_dir: Path

    @property
    def journal(self) -> Reading:
        return read_journal(self.run_dir / "journal.jsonl")

    @property
    def verdicts(self) -> dict[str, str]:
        """Verdict by test name, NOT RUN from the end of the run."""
        found = {entry.data["testcase"].split("::")[1]: entry.data["verdict"] for entry in self.journal.of("result")}
        for end in self.journal.of("run.end"):
            found |= {nodeid.split("::")[1]: "NOT RUN" for nodeid in end.data["not_run"]}
        return found

    def reason(self, name: str) -> str:
        """The reason of a testcase's result."""
        return next(e.data["reason"] for e in self.journal.of("result") if e.data["testcase"].endswith(name))


def command(folder: Path, body: str, *options: str, rig: Path | None = RIG) -> list[str]:
    """Write testcases and return the command that runs them."""
    (folder / "pytest.ini").write_text("[pytest]\naddopts = --import-mode=importlib\n")
    (folder / "test_some.py").write_text(HEAD + body)
    given = ["--rig", str(rig), "--run-dir", str(folder / "run")] if rig else []
    return [sys.executable, "-m", "pytest", "test_some.py", *given, "--no-html", *options]


def run(
    folder: Path,
    body: str,
    *options: str,
    rig: Path | None = RIG,
    environment: Mapping[str, str] | None = None,
) -> Outcome:
    """Run testcases to their end."""
    done = subprocess.run(
        command(folder, body, *options, rig=rig),
        cwd=folder,
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="backslashreplace",
        timeout=120,
        check=False,
    )
    return Outcome(done.returncode, done.stdout, folder / "run")
