"""One run of testcases on a rig, in one process: its folder, its journal, its bench, and the case in progress."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.bench import Bench
from harness.case import Case, Observer
from harness.clean import file_name
from harness.errors import ControlFault
from harness.journal import Journal
from harness.record_file import expect_space, make_reserve
from harness.rig.approvals import approvals_of
from harness.rig.loading import Rig
from harness.testcase import Meta

__all__ = ["Run", "make_run_dir"]

_TOOLS = (
    "proofrig", "pytest", "pyserial", "python-can", "can-isotp", "cantools", "udsoncan", "pymodbus", "paramiko",
    "boofuzz", "allure-pytest",
)  # fmt: skip


def make_run_dir(reports: Path, rig: Rig) -> Path:
    """Make and return a new folder `reports/<UTC time>-<rig>`."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    path = reports / f"{stamp}-{file_name(rig.file.rig)}"
    path.mkdir(parents=True)
    return path


class Run:
    """The record and the bench of one process of a run."""

    def __init__(self, rig: Rig, *, run_dir: Path, worker: str = "main", settings: Sequence[str] = ()) -> None:
        self.rig = rig
        self.run_dir = run_dir
        self.worker = worker
        name = "journal.jsonl" if worker == "main" else f"journal-{file_name(worker)}.jsonl"
        if worker == "main":
            make_reserve(run_dir)
        self.journal = Journal(run_dir / name)
        self._bench: Bench | None = None
        self.journal.write(
            "run.start",
            run=run_dir.name,
            role=worker,
            operator=rig.file.operator,
            tools={"python": platform.python_version(), **_versions()},
            settings=list(settings),
            challenge=asdict(rig.falsified) if rig.falsified else {},
        )
        self.journal.write(
            "rig",
            rig=rig.file.rig,
            rig_sha256=rig.sha256,
            device=rig.device.device,
            device_sha256=rig.device_sha256,
            item=rig.file.item.model_dump(mode="json", exclude={"setup_code"}),
            grade=rig.file.item.grade.value,
            equipment=[piece.model_dump(mode="json") for piece in rig.file.equipment],
            permits=[effect.value for effect in rig.file.permits],
            photos=_keep_photos(rig, run_dir, copy=worker == "main"),
            device_files=[{"file": source.path.name, "sha256": source.sha256} for source in rig.device_files],
            device_merged_sha256=rig.device_merged_sha256,
            approvals=approvals_of(rig.device, [source.path for source in rig.device_files]),
        )

    @property
    def bench(self) -> Bench:
        """The bench, opened with the first testcase that needs it."""
        if self._bench is None:
            bench = Bench(self.rig, run_dir=self.run_dir, journal=self.journal, worker=self.worker)
            try:
                bench.open()
            except BaseException:
                bench.close()
                raise
            self._bench = bench
        return self._bench

    def begin(
        self,
        nodeid: str,
        meta: Meta,
        *,
        claims: Sequence[str] = (),
        attempt: int = 1,
        observer: Callable[[], Observer] | None = None,
    ) -> Case:
        """Bring the device to its baseline and begin a testcase.

        Raises:
            BenchFault: the baseline cannot be reached, or the control lacks what the testcase needs.
            DiskFull: there is no room for what the testcase leaves.
        """
        expect_space(self.run_dir)
        started = time.monotonic()
        missing = meta.needs - {str(capability) for capability in self.bench.control.capabilities}
        if missing:
            raise ControlFault(
                f"this rig cannot {', '.join(sorted(missing))}, which the testcase needs",
                hint="give the rig a control that can",
            )
        self.bench.fresh(watch=not meta.cold)
        known = [self.rig.device.claims[claim] for claim in claims]
        self.journal.write(
            "case.start",
            testcase=nodeid,
            title=meta.title,
            version=meta.version,
            id=meta.id,
            clauses=_clauses(meta),
            claims=list(claims),
            requirements=sorted({r for claim in known for r in claim.requirements}),
            risks=sorted({r for claim in known for r in claim.risks}),
            attempt=attempt,
            fresh_s=round(time.monotonic() - started, 4),
        )
        shown = observer() if observer else None
        return Case(self.bench, nodeid=nodeid, meta=meta, attempt=attempt, observer=shown, claims=claims)

    def plan(self, nodeids: Sequence[str], about: Mapping[str, Meta]) -> None:
        """Record what is going to be run; `about` says what each testcase says of itself, where it is known."""
        digest = hashlib.sha256(json.dumps(list(nodeids)).encode()).hexdigest()
        known = {
            nodeid: {
                "id": meta.id,
                "title": meta.title,
                "version": meta.version,
                "clauses": _clauses(meta),
                "about": asdict(meta.about),
                "severity": meta.severity,
                "hardware": meta.hardware,
                "unqualified": meta.unqualified,
                "effects": sorted(effect.value for effect in meta.effects),
            }
            for nodeid, meta in about.items()
        }
        self.journal.write("plan", plan_sha256=digest, testcases=list(nodeids), about=known)

    def close(self) -> None:
        """Let go of the bench; the journal stays open for its last lines."""
        if self._bench is not None:
            bench, self._bench = self._bench, None
            bench.close()


def _keep_photos(rig: Rig, run_dir: Path, *, copy: bool) -> list[dict[str, Any]]:
    """Copy the photographs of the set-up into the run folder; return what the journal keeps of each."""
    kept = []
    for photo in rig.file.photos:
        data = rig.resolve(photo).read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        file = f"photos/{digest[:16]}-{file_name(Path(photo).name)}"
        if copy:
            (run_dir / "photos").mkdir(exist_ok=True)
            (run_dir / file).write_bytes(data)
        kept.append({"photo": photo, "file": file, "sha256": digest, "bytes": len(data)})
    return kept


def _clauses(meta: Meta) -> list[dict[str, str]]:
    return [{"clause": tag.clause_id, "strength": tag.strength.value} for tag in meta.tags]


def _versions() -> dict[str, str]:
    found = {}
    for name in _TOOLS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
