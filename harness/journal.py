"""The journal: the append-only record of a run, one JSON object a line.

Each line carries the schema version, a sequence number, UTC and monotonic time, the SHA-256 of the line
before it, a kind and that kind's fields. A line is one `write` to an unbuffered file: `kill -9` loses at
most the line being written, and a torn last line is recognised on reading. Every process of a run has a
journal of its own; the main one records the first and last hash of each worker's.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from harness.errors import UsageError
from harness.record_file import RESERVE, RecordFile

__all__ = ["KINDS", "SCHEMA_VERSION", "Entry", "Journal", "Reading", "read_journal"]

SCHEMA_VERSION = 1
GENESIS = "0" * 64

#: Every kind of line and the fields it must carry. Frozen with schema version 1: fields may be added to a
#: line, none may be taken away or change its meaning (tests/golden/journal-v1.jsonl holds it).
KINDS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "run.start": frozenset({"run", "role", "operator", "tools", "settings"}),
        "run.end": frozenset({"exit_code", "totals", "not_run"}),
        "rig": frozenset({"rig", "rig_sha256", "device", "device_sha256", "item", "grade", "equipment", "permits"}),
        "image": frozenset({"image_sha256", "lock_sha256", "weaknesses"}),
        "plan": frozenset({"plan_sha256", "testcases"}),
        "deselected": frozenset({"testcases"}),
        "worker.start": frozenset({"worker", "first"}),
        "worker.end": frozenset({"worker", "last", "lines"}),
        "case.start": frozenset(
            {"testcase", "title", "version", "clauses", "claims", "requirements", "risks", "attempt"}
        ),
        "step": frozenset({"testcase", "title"}),
        "operation": frozenset({"testcase", "surface", "operation", "outcome", "sent", "received"}),
        "attack": frozenset({"testcase", "surface", "what"}),
        "alive": frozenset({"testcase", "surface", "seen", "how"}),
        "check": frozenset({"testcase", "title", "state", "expected", "observed", "claim"}),
        "watch": frozenset({"testcase", "watch", "state", "samples", "detail"}),
        "exemption": frozenset({"testcase", "expecting", "within", "seen"}),
        "masked": frozenset({"testcase", "what", "length"}),
        "case.end": frozenset({"testcase", "verdict", "reason", "attempt", "seconds"}),
        "result": frozenset({"testcase", "verdict", "reason"}),
        "identity": frozenset({"expected", "observed", "surface"}),
        "baseline": frozenset({"state", "route", "seconds"}),
        "power": frozenset({"action"}),
        "snapshot": frozenset({"action", "template"}),
        "event": frozenset({"source", "event", "asked"}),
        "capture": frozenset({"link", "file", "sha256", "frames", "bytes"}),
        "fuzz": frozenset({"testcase", "model", "seed", "planned", "executed"}),
        "fault": frozenset({"what", "hint"}),
    }
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One journal line as read back."""

    seq: int
    utc: str
    mono: float
    prev: str
    kind: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Reading:
    """A journal as read back: the whole lines, whether the last was torn, and where the chain breaks if it does."""

    entries: tuple[Entry, ...]
    torn: bool
    broken_at: int | None
    head: str

    def of(self, kind: str) -> list[Entry]:
        """Return the entries of one kind, in order."""
        return [entry for entry in self.entries if entry.kind == kind]


class Journal:
    """Writes one journal file; safe to share between threads.

    The journal of a run is never written a second time. `resume` goes on with one that is there, after its last whole
    line: the record of approvals, which outlives runs and has `kinds` of its own.

    Raises:
        FileExistsError: `path` exists already, without `resume`.
        UsageError: `path` was changed after it was written, with `resume`.
    """

    def __init__(self, path: Path, *, resume: bool = False, kinds: Mapping[str, frozenset[str]] = KINDS) -> None:
        self.path = path
        self._kinds = kinds
        self._lock = threading.Lock()
        self._seq = 0
        self._head = GENESIS
        self._first = GENESIS
        keep = self._take_up() if resume and path.exists() else None
        self._file = RecordFile(path, reserve=path.parent / RESERVE, keep=keep)

    @property
    def first(self) -> str:
        """SHA-256 of the first line written."""
        return self._first

    @property
    def head(self) -> str:
        """SHA-256 of the last line written."""
        return self._head

    @property
    def lines(self) -> int:
        """How many lines have been written."""
        return self._seq

    def write(self, kind: str, /, **data: Any) -> int:
        """Append a line and return its sequence number.

        Raises:
            TypeError: unknown kind, a missing field, or a value JSON cannot hold.
            BenchFault: it cannot be written; the journal ends with the line before.
        """
        missing = self._kinds.get(kind, frozenset({"(unknown kind)"})) - data.keys()
        if missing:
            raise TypeError(f"journal line {kind!r} lacks {', '.join(sorted(missing))}")
        with self._lock:
            line = json.dumps(
                {
                    "v": SCHEMA_VERSION,
                    "seq": self._seq,
                    "utc": datetime.now(UTC).isoformat(timespec="microseconds"),
                    "mono": round(time.monotonic(), 6),
                    "prev": self._head,
                    "kind": kind,
                    "data": data,
                },
                allow_nan=False,
                separators=(",", ":"),
            ).encode("ascii")
            self._file.append(line + b"\n")
            self._head = hashlib.sha256(line).hexdigest()
            if self._seq == 0:
                self._first = self._head
            self._seq += 1
            return self._seq - 1

    def sync(self) -> None:
        """Have what was written put on the disk itself."""
        with self._lock:
            self._file.sync()

    def _take_up(self) -> int:
        """Take over number and hash of the last whole line; return where it ends."""
        reading = read_journal(self.path)
        if reading.broken_at is not None:
            raise UsageError(
                "was changed after it was written: the chain of its lines breaks here",
                where=f"{self.path}:{reading.broken_at + 1}",
                hint="restore the file; it is only ever appended to",
            )
        blob = self.path.read_bytes()
        self._seq, self._head = len(reading.entries), reading.head
        if reading.entries:
            self._first = hashlib.sha256(blob.partition(b"\n")[0]).hexdigest()
        return blob.rfind(b"\n") + 1

    def close(self) -> None:
        """Close the file; writing afterwards is an error."""
        with self._lock:
            self._file.close()


def read_journal(path: Path) -> Reading:
    """Read a journal back and verify its chain.

    A torn last line is left out and reported; a line in the middle that is damaged, out of sequence or whose
    `prev` does not fit ends the reading at `broken_at`.
    """
    blob = path.read_bytes()
    lines = blob.split(b"\n")
    torn = lines.pop() != b""
    entries: list[Entry] = []
    head = GENESIS
    for number, line in enumerate(lines):
        entry = _parse(line)
        if entry is None or entry.seq != number or entry.prev != head:
            return Reading(entries=tuple(entries), torn=torn, broken_at=number, head=head)
        entries.append(entry)
        head = hashlib.sha256(line).hexdigest()
    return Reading(entries=tuple(entries), torn=torn, broken_at=None, head=head)


def _parse(line: bytes) -> Entry | None:
    try:
        raw = json.loads(line)
        if raw["v"] != SCHEMA_VERSION:
            return None
        return Entry(
            seq=raw["seq"],
            utc=raw["utc"],
            mono=raw["mono"],
            prev=raw["prev"],
            kind=raw["kind"],
            data=raw["data"],
        )
    except (ValueError, KeyError, TypeError):
        return None
