"""What `summary.json` holds: a run in short, for programs and for the comparison with another run."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.clauses.registry import load_registry
from harness.clean import show_text
from harness.errors import UsageError
from harness.fuzz.findings import read_finding
from harness.report.coverage_page import coverage_of
from harness.report.equipment import equipment_of
from harness.report.labels import line
from harness.report.qualification import read_qualification
from harness.report.reading import CaseRecord, RunRecord
from harness.verdict import CheckState

__all__ = ["summary_of"]


def summary_of(run: RunRecord) -> dict[str, Any]:
    """The run in short, for programs: testcases with verdict, reason and checks; clauses; what went wrong."""
    documents, unknown = coverage_of(run, load_registry())
    findings, unreadable = _findings(run.run_dir)
    return {
        "run": run.run,
        "operator": run.operator,
        "challenge": dict(run.challenge),
        "started": run.started,
        "ended": run.ended,
        "exit_code": run.exit_code,
        "rig": run.rig.get("rig", ""),
        "device": run.rig.get("device", ""),
        "item": run.rig.get("item", {}),
        "grade": run.rig.get("grade", ""),
        "equipment": [asdict(piece) for piece in equipment_of(run)],
        "photos": [dict(photo) for photo in run.rig.get("photos", ())],
        "rig_sha256": run.rig.get("rig_sha256", ""),
        "device_sha256": run.rig.get("device_sha256", ""),
        "device_files": [dict(each) for each in run.rig.get("device_files", ())],
        "device_merged_sha256": run.rig.get("device_merged_sha256", ""),
        "approvals": [{name: line(str(text)) for name, text in each.items()} for each in run.rig.get("approvals", ())],
        "image_sha256": run.image.get("image_sha256", {}),
        "tools": dict(run.tools),
        "settings": [line(each) for each in run.settings],
        "weaknesses": run.image.get("weaknesses", []),
        "totals": run.totals(),
        "testcases": [_case(case) for case in run.cases],
        "findings": findings,
        "qualification": [asdict(each) for each in read_qualification(run.run_dir)],
        "left_out": {line(nodeid): show_text(reason) for nodeid, reason in run.left_out.items()},
        "faults": [show_text(fault) for fault in run.faults],
        "problems": [
            *run.problems,
            *(f"tagged with unknown clause {clause}" for clause in unknown),
            *unreadable,
        ],
        "clauses": {
            each.document.id: {row.clause.id: row.roll_up for row in each.clauses if row.results} for each in documents
        },
        "clauses_without_testcase": {each.document.id: list(each.untested) for each in documents if each.untested},
    }


def _case(case: CaseRecord) -> dict[str, Any]:
    return {
        "testcase": line(case.nodeid),
        "name": line(case.name),
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


def _findings(run_dir: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """The findings of a run, and what is wrong with those that cannot be read.

    `key` is the same in every run in which the same cases did the same harm to the same surface.
    """
    found, unreadable = [], []
    for path in sorted((run_dir / "findings").glob("*.json")):
        try:
            finding = read_finding(path)
        except UsageError as error:
            unreadable.append(line(f"findings/{path.name}: {error.message}"))
            continue
        what = (finding.surface, finding.claim, finding.harm, *(case.data.hex() for case in finding.cases))
        found.append(
            {
                "key": hashlib.sha256("\n".join(what).encode("utf-8", "backslashreplace")).hexdigest(),
                "file": f"findings/{line(path.name)}",
                "surface": line(finding.surface),
                "claim": line(finding.claim),
                "harm": line(finding.harm),
                "observed": line(finding.observed),
                "confirmed": finding.confirmed,
            }
        )
    return found, unreadable
