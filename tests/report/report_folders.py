"""Run folders written with the journal itself, as the plugin writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.journal import Journal

HOSTILE = (
    "<script>document.documentElement.setAttribute('data-owned', '1')</script>"
    "<img src=x onerror=\"document.documentElement.setAttribute('data-owned', '1')\">"
    "\x1b[31mred\x1b[0m \u202egnp.exe \ud83d \x00"
)
"""What a hostile device might send: a script, an image that runs one, ANSI, a bidi override, a lone surrogate, NUL."""

LOCKOUT = "testcases/authentication/test_lockout.py::test_lockout[console]"
REPLAY = "testcases/can/test_replay.py::test_replay[can]"
FLOOD = "testcases/availability/test_flood.py::test_flood[modbus]"
WAVES = "testcases/can/test_waves.py::test_waves[not-applicable]"

PLAN: Mapping[str, Mapping[str, Any]] = {
    LOCKOUT: {
        "id": "AUTH-LOCKOUT",
        "title": "An account is locked",
        "clauses": [
            {"clause": "NMPA-2022/PAUT", "strength": "verifies"},
            {"clause": "ANSM-2019/CRIT-C", "strength": "contributes"},
        ],
    },
    REPLAY: {
        "id": "CAN-REPLAY",
        "title": "A recorded command is refused",
        "clauses": [{"clause": "NMPA-2022/NAUT", "strength": "verifies"}],
    },
    FLOOD: {
        "id": "AVAIL-FLOOD",
        "title": "A flood is withstood",
        "clauses": [{"clause": "NMPA-2022/CONN", "strength": "verifies"}],
    },
    WAVES: {
        "id": "CAN-WAVES",
        "title": "电子接口：波形",
        "clauses": [{"clause": "NMPA-2020/IFU-iface", "strength": "verifies"}],
    },
}


ADAPTER = {"name": "adapter", "serial": "7", "calibration_due": "2099-01-01"}


class Folder:
    """A run folder being written. `worker` writes the testcases to a journal of its own."""

    def __init__(self, path: Path, *, worker: str = "", equipment: Sequence[Mapping[str, str]] = (ADAPTER,)) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.main = _begin(path / "journal.jsonl", "main", equipment)
        self.cases = _begin(path / f"journal-{worker}.jsonl", worker, equipment) if worker else self.main
        self.worker = worker
        self._announced = False

    def plan(self, nodeids: Sequence[str] = tuple(PLAN), *, about: bool = True) -> Folder:
        """Write the plan."""
        common = {
            "version": 1,
            "about": {"property": "integrity", "phase": "design", "method": "function", "threat": "replay"},
            "severity": "critical",
            "hardware": "",
            "unqualified": False,
            "effects": [],
        }
        known = {nodeid: {**common, **PLAN[nodeid]} for nodeid in nodeids} if about else {}
        self.main.write("plan", plan_sha256="0" * 64, testcases=list(nodeids), about=known)
        return self

    def start(self, nodeid: str, *, attempt: int = 1) -> Folder:
        """Begin an attempt."""
        self.cases.write(
            "case.start",
            testcase=nodeid,
            version=1,
            claims=["LOCKOUT"],
            requirements=["SRS-1"],
            risks=["RISK-1"],
            attempt=attempt,
            **{key: PLAN[nodeid][key] for key in ("id", "title", "clauses")},
        )
        return self

    def check(self, nodeid: str, state: str = "held", *, text: str = "as it should be") -> Folder:
        """Write a check."""
        self.cases.write(
            "check",
            testcase=nodeid,
            title=f"a check: {text}",
            state=state,
            expected="refused",
            observed=text,
            claim="LOCKOUT",
            source="SRS rev. 1 § 2",
            status="approved",
        )
        return self

    def finish(self, nodeid: str, verdict: str, *, reason: str = "", attempt: int = 1, result: bool = True) -> Folder:
        """End an attempt, and hand its result to the main journal."""
        self.cases.write("case.end", testcase=nodeid, verdict=verdict, reason=reason, attempt=attempt, seconds=0.25)
        if result:
            self.result(nodeid, verdict, reason=reason)
        return self

    def result(self, nodeid: str, verdict: str, *, reason: str = "") -> Folder:
        """Write what the main journal says of a testcase."""
        if self.worker and not self._announced:
            self._announced = True
            self.main.write("worker.start", worker=self.worker, first=self.cases.first)
        self.main.write("result", testcase=nodeid, verdict=verdict, reason=reason)
        return self

    def case(self, nodeid: str, verdict: str, *states: str, reason: str = "", text: str = "as it should be") -> Folder:
        """Write a whole testcase of one attempt."""
        self.start(nodeid)
        for state in states:
            self.check(nodeid, state, text=text)
        return self.finish(nodeid, verdict, reason=reason)

    def end(self) -> Path:
        """End the run and return its folder."""
        if self.worker:
            self.main.write("worker.end", worker=self.worker, last=self.cases.head, lines=self.cases.lines)
            self.cases.close()
        self.main.write("run.end", exit_code=0, totals={}, not_run=[])
        self.main.close()
        return self.path


def _begin(path: Path, role: str, equipment: Sequence[Mapping[str, str]]) -> Journal:
    journal = Journal(path)
    journal.write(
        "run.start", run=path.parent.name, role=role, operator="O. Perator", tools={"pytest": "9"}, settings=[]
    )
    journal.write(
        "rig",
        rig="sham",
        rig_sha256="a" * 64,
        device="infusion-pump",
        device_sha256="b" * 64,
        item={"serial": "VP1-1", "grade": "emulated", "hardware": ""},
        grade="emulated",
        equipment=list(equipment),
        permits=["accounts"],
    )
    return journal
