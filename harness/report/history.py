"""The history of a rig: a line a run, in the form of Allure 3, so that the HTML shows trends across nights.

Allure is lent a copy, and the line it appends is merged into the file under a lock and by one replacement: runs
that end at the same time both stay. A line that is damaged, or not of this form, is set aside and said so; nothing
about a history can break a run or a report.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import select
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.clean import show_text
from harness.errors import UsageError
from harness.report.labels import line
from harness.report.reading import RunRecord

__all__ = ["LIMIT", "lent", "parse"]

LIMIT = 30
"""Runs kept. The page holds them all, at about half a kilobyte for each testcase and run."""

SIZE_LIMIT = 64 << 20
"""Bytes of a history file: a longer one was not written here."""

LOCK_S, _POLL_S = 10.0, 0.05
_LATEST = 8.64e15
"""Milliseconds: the last moment a script's date can hold."""

_STATUSES = frozenset({"passed", "failed", "broken", "skipped", "unknown"})


@dataclass(frozen=True, slots=True)
class Point:
    """One run in the history: who it was, when it began (milliseconds since 1970), and its line."""

    run: str
    began: float
    line: str


def parse(text: bytes) -> tuple[list[Point], int]:
    """Return the points of a history and how many of its lines are damaged."""
    points, damaged = [], 0
    for each in text.split(b"\n"):
        if not each.strip():
            continue
        try:
            points.append(_point(json.loads(each.decode("utf-8"), parse_constant=_refuse)))
        except (ValueError, OverflowError, KeyError, TypeError, AttributeError, RecursionError):
            damaged += 1
    return points, damaged


@contextmanager
def lent(history: Path, run: RunRecord, *, say: Callable[[str], None]) -> Iterator[Path]:
    """Lend a copy of the runs before `run`; the line that Allure appends to it is kept when it comes back.

    Args:
        history: the file to extend; it and its folder need not exist.
        run: the run whose report is being made. Made again, it takes the place of its own line.
        say: takes one sentence about each thing that went wrong.

    Raises:
        UsageError: the history cannot be read or locked; nothing is lent.
    """
    began = datetime.fromisoformat(run.started).timestamp() * 1000
    name = f"{run.run} {run.started}"
    try:
        history.parent.mkdir(parents=True, exist_ok=True)
        with _locked(history):
            before = [each for each in _load(history, say) if each.began < began and each.run != name]
        scratch = tempfile.TemporaryDirectory(prefix="proofrig-history-")
    except OSError as error:
        raise UsageError(f"the history cannot be used: {error.strerror}", where=str(history)) from error
    with scratch as folder:
        copy = Path(folder) / "history.jsonl"
        copy.write_text("".join(f"{each.line}\n" for each in before), encoding="ascii")
        yield copy
        try:
            points, _ = parse(copy.read_bytes())
            if len(points) != len(before) + 1:
                say(f"{history}: this run was not added: Allure wrote no line for it")
                return
            added = {**json.loads(points[-1].line), "run": name, "timestamp": began}
            with _locked(history):
                others = [each for each in _load(history, say) if each.run != name]
                _replace(history, sorted([*others, _point(added)], key=lambda each: each.began)[-LIMIT:])
        except (OSError, UsageError) as error:
            say(f"{history}: this run was not added: {error}")


def _load(history: Path, say: Callable[[str], None]) -> list[Point]:
    """Read the history; what is damaged is set aside and the rest written anew."""
    if not history.exists():
        return []
    aside = history.with_name(f"{history.stem}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S%f}{history.suffix}")
    if history.stat().st_size > SIZE_LIMIT:
        history.replace(aside)
        say(f"{history}: longer than {SIZE_LIMIT >> 20} MiB; set aside as {aside.name}, a new one is begun")
        return []
    text = history.read_bytes()
    points, damaged = parse(text)
    if damaged:
        aside.write_bytes(text)
        _replace(history, points)
        kept = f"the other {len(points)} are kept" if points else "a new one is begun"
        say(f"{history}: damaged in {damaged} line{'s' * (damaged > 1)}; set aside as {aside.name}, {kept}")
    return points


def _replace(history: Path, points: list[Point]) -> None:
    """Write the file whole or not at all."""
    handle, part = tempfile.mkstemp(dir=history.parent, prefix=f".{history.name}-")
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.writelines(f"{each.line}\n" for each in points)
            file.flush()
            os.fsync(file.fileno())
        Path(part).chmod(0o644)
        Path(part).replace(history)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise


@contextmanager
def _locked(history: Path) -> Iterator[None]:
    """Keep other processes out. The folder is what is locked: the file is replaced, and no lock file stays behind."""
    deadline = time.monotonic() + LOCK_S
    folder = os.open(history.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        while True:
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise UsageError(f"another process has been using the history for over {LOCK_S:g} s") from None
                select.select([], [], [], _POLL_S)
        yield
    finally:
        os.close(folder)


# The form of a line


def _point(raw: Any) -> Point:
    """A line of this form, with what the trends need and nothing else; raises where it is of another."""
    began = _number(raw["timestamp"])
    if not 0 <= began <= _LATEST:
        raise ValueError("a time no date can hold")
    kept: dict[str, Any] = {
        "uuid": _text(raw["uuid"]),
        "name": line(_text(raw["name"])),
        "timestamp": began,
        "knownTestCaseIds": [_text(each) for each in raw["knownTestCaseIds"]],
        "testResults": {key: _result(each) for key, each in raw["testResults"].items()},
        "metrics": {},
        "url": "",
        "run": _text(raw.get("run", raw["uuid"])),
    }
    return Point(kept["run"], began, json.dumps(kept))


def _result(raw: Mapping[str, Any]) -> dict[str, Any]:
    if raw["status"] not in _STATUSES:
        raise ValueError("no status of Allure's")
    kept = {key: _text(raw[key]) for key in ("id", "historyId", "environment", "status") if key in raw}
    kept |= {key: line(_text(raw[key])) for key in ("name", "fullName") if key in raw}
    if raw.get("message"):
        kept["message"] = show_text(_text(raw["message"]), limit=300)
    times = {key: _number(raw[key]) for key in ("start", "stop", "duration") if key in raw}
    return {**kept, **times, "url": "", "reportLinks": []}


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError("no number")
    return value


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")
