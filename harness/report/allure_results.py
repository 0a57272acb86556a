"""The folder of Allure results, made to agree with the journal: the journal decides, Allure shows.

A testcase that never ran, or whose process died, gets a result of its own; a result that says something else than
the journal (allure-pytest calls an interrupted test passed) is corrected.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from harness.clauses.model import Registry
from harness.clean import show_text
from harness.report.equipment import equipment_of
from harness.report.labels import NODEID, description, facts_of_record, labels, line, links, title
from harness.report.reading import CaseRecord, CheckRecord, RunRecord
from harness.verdict import TABLE, CheckState, Verdict

__all__ = ["CATEGORIES", "STATUS", "complete_results", "read_results", "write_whole"]

VERDICT = "verdict"
"""Name of the label that holds the word of ours for Allure's status."""

#: Allure's status for each verdict; the first row of the table for it decides.
STATUS: Mapping[Verdict, str] = {row.verdict: row.allure_status for row in reversed(TABLE)}

CATEGORIES: tuple[Mapping[str, Any], ...] = (
    {"name": "FAIL: the device broke a claim", "matchedStatuses": ["failed"]},
    {"name": "INCONCLUSIVE: bench, harness or procedure could not decide", "matchedStatuses": ["broken"]},
    {"name": "NOT APPLICABLE: the device file says why", "matchedStatuses": ["skipped"]},
    {"name": "NOT RUN: the run ended before or during it", "matchedStatuses": ["unknown"]},
)

_STEP = {CheckState.HELD: ("✔", "passed"), CheckState.BROKEN: ("✘", "failed"), CheckState.UNDECIDED: ("?", "broken")}


def complete_results(run: RunRecord, results: Path, registry: Registry) -> None:
    """Write what is missing, correct what disagrees, and say under what circumstances the run was made."""
    results.mkdir(exist_ok=True)
    written = {nodeid: (path, result) for path, result in read_results(results) if (nodeid := _nodeid(result))}
    for case in run.cases:
        path, result = written.get(line(case.nodeid)) or _new(results, case, run, registry)
        _agree(result, case)
        write_whole(path, result)
    write_whole(results / "categories.json", list(CATEGORIES))
    write_whole(results / "executor.json", {"name": "Proofrig", "type": "proofrig", "buildName": line(run.run)})
    pairs = "".join(f"{_property(name)} = {_property(value)}\n" for name, value in _circumstances(run))
    (results / "environment.properties").write_text(pairs, encoding="utf-8")


def read_results(results: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield every readable result with its file, oldest first."""
    found = []
    for path in results.glob("*-result.json"):
        try:
            found.append((path, json.loads(path.read_text(encoding="utf-8"))))
        except ValueError:
            continue  # the process died while writing it; the journal has the testcase
    yield from sorted(found, key=lambda each: each[1].get("start", 0))


def _nodeid(result: Mapping[str, Any]) -> str:
    return next((each["value"] for each in result.get("labels", ()) if each["name"] == NODEID), "")


def _agree(result: dict[str, Any], case: CaseRecord) -> None:
    # One identity for every run, whether it ran or not: a parameter's `repr` changes with the device file.
    result["testCaseId"] = result["historyId"] = _digest(case.nodeid)
    for parameter in result.get("parameters", ()):
        parameter["excluded"] = True
    result["status"] = STATUS[case.verdict]
    result["labels"] = [each for each in result["labels"] if each["name"] != VERDICT]
    result["labels"].append({"name": VERDICT, "value": case.verdict.value})
    if case.verdict is Verdict.PASS:
        result.pop("statusDetails", None)
        return
    details = result.setdefault("statusDetails", {})
    details["message"] = f"{case.verdict.value}: {show_text(case.reason)}" if case.reason else case.verdict.value
    if details.get("trace", "").strip() in ("", case.reason.strip(), show_text(case.reason).strip()):
        details.pop("trace", None)


def _new(results: Path, case: CaseRecord, run: RunRecord, registry: Registry) -> tuple[Path, dict[str, Any]]:
    facts = facts_of_record(case, run, registry)
    started = _milliseconds(case.started or run.started)
    name = str(uuid.uuid4())
    return results / f"{name}-result.json", {
        "uuid": name,
        "name": title(facts),
        "fullName": line(case.nodeid),
        "stage": "finished",
        "start": started,
        "stop": started + round(case.seconds * 1000),
        "description": description(facts, registry),
        "labels": [{"name": key, "value": value} for key, value in labels(facts, registry)],
        "links": [{"type": "link", "url": url, "name": text} for url, text in links(facts, registry)],
        "steps": [_step(check, started) for check in case.checks],
    }


def _digest(nodeid: str) -> str:
    return hashlib.md5(nodeid.encode("utf-8", "backslashreplace"), usedforsecurity=False).hexdigest()


def _step(check: CheckRecord, at: int) -> dict[str, Any]:
    sign, status = _STEP[check.state]
    values = {"expected": check.expected, "observed": check.observed, "claim": check.claim}
    return {
        "name": line(f"{sign} {check.title}"),
        "status": status,
        "stage": "finished",
        "start": at,
        "stop": at,
        "parameters": [{"name": key, "value": show_text(value, limit=500)} for key, value in values.items() if value],
    }


def _circumstances(run: RunRecord) -> Iterator[tuple[str, str]]:
    """What the reader must know of the bench: name and value, in order."""
    rig, item = run.rig, run.rig.get("item", {})
    yield "run", run.run
    yield "operator", run.operator
    yield "started", run.started
    yield "ended", run.ended or "did not end"
    yield "rig", f"{rig.get('rig', '')} (SHA-256 {rig.get('rig_sha256', '')})"
    yield "device", f"{rig.get('device', '')} (SHA-256 {rig.get('device_sha256', '')})"
    yield (
        "item",
        f"{item.get('serial', '')}, {rig.get('grade', '')}" + (f", {item['hardware']}" if item.get("hardware") else ""),
    )
    yield "permitted effects", ", ".join(rig.get("permits", ())) or "none"
    for number, piece in enumerate(equipment_of(run), 1):
        yield f"equipment {number}", str(piece)
    for number, photo in enumerate(rig.get("photos", ()), 1):
        yield f"photograph {number}", f"{photo['file']} (SHA-256 {photo['sha256']})"
    if run.image:
        yield "image SHA-256", str(run.image.get("image_sha256", ""))
        yield "weaknesses switched on", ", ".join(run.image.get("weaknesses", ())) or "none"
    yield from run.tools.items()
    for number, problem in enumerate(run.problems, 1):
        yield f"record problem {number}", problem


def _property(text: str) -> str:
    """One key or value of a properties file: whatever could end it or begin another is escaped."""
    escaped = line(str(text), 500).replace("\\", "\\\\")
    return "".join(f"\\{char}" if char in "=:#!" else char for char in escaped)


def _milliseconds(utc: str) -> int:
    return round(datetime.fromisoformat(utc).timestamp() * 1000)


def write_whole(path: Path, data: Any, *, default: Callable[[Any], Any] | None = None) -> None:
    """Write JSON whole or not at all; `default` makes plain data of what is none."""
    part = path.with_suffix(".tmp")
    part.write_text(json.dumps(data, default=default, ensure_ascii=False), encoding="utf-8")
    part.replace(path)
