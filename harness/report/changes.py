"""What changed from one run to another: verdicts, testcases, durations, findings, weaknesses, circumstances.

Both runs are read from their folders: the journal, so that a killed run says what was NOT RUN; and where only
`summary.json` was kept, that.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from harness.clean import show_text
from harness.errors import UsageError
from harness.report.labels import line
from harness.report.qualification import AS_DECLARED, Trial
from harness.report.reading import read_run
from harness.report.summary_json import summary_of
from harness.verdict import Verdict

__all__ = ["Changes", "Kind", "Side", "changes_json", "compare", "previous_run", "read_side", "side_of"]

FACTOR = 2.0
"""A duration changed when it is more than so many times the other …"""

FLOOR_S = 5.0
"""… and differs by more than this, in seconds."""


class Kind(StrEnum):
    """What became of a testcase, in the order of the table."""

    NEW_FAILURE = "new failure"
    LOST = "no longer decided"
    VANISHED = "vanished"
    FIXED = "fixed"
    DECIDED = "decided now"
    NEW = "new testcase"
    OTHER = "changed"


@dataclass(frozen=True, slots=True)
class Ran:
    """A testcase in one of the runs."""

    nodeid: str
    name: str
    title: str
    verdict: Verdict
    reason: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Found:
    """A finding of one of the runs. `key` tells whether the other has it too."""

    key: str
    surface: str
    claim: str
    harm: str
    file: str


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two runs. `ended` is empty if it was killed; `circumstances` are what else may explain a change."""

    run: str
    rig: str
    device: str
    started: str
    ended: str
    problems: tuple[str, ...]
    cases: tuple[Ran, ...]
    left_out: Mapping[str, str]
    findings: tuple[Found, ...]
    qualification: tuple[Trial, ...]
    circumstances: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class CaseChange:
    """A testcase whose verdict is another one now; None where a run did not plan it."""

    kind: Kind
    name: str
    title: str
    before: Verdict | None
    now: Verdict | None
    reason: str


@dataclass(frozen=True, slots=True)
class Changed:
    """A value that is another one now, empty where there was or is none."""

    what: str
    before: str
    now: str


@dataclass(frozen=True, slots=True)
class Changes:
    """What changed from `old` to `new`, and what did not but is not a PASS: the names of those still open."""

    old: Side
    new: Side
    testcases: tuple[CaseChange, ...]
    durations: tuple[Changed, ...]
    findings_new: tuple[Found, ...]
    findings_gone: tuple[Found, ...]
    qualification: tuple[Changed, ...]
    circumstances: tuple[Changed, ...]
    still: Mapping[Verdict, tuple[str, ...]] = field(default_factory=dict)

    def of(self, kind: Kind) -> tuple[CaseChange, ...]:
        """The testcases of one kind."""
        return tuple(each for each in self.testcases if each.kind is kind)

    @property
    def sentence(self) -> str:
        """The whole in one sentence."""
        counted = Counter(each.kind for each in self.testcases)
        parts = [f"{counted[kind]} {_plural(kind, counted[kind])}" for kind in Kind if counted[kind]]
        parts += [f"{len(names)} still {verdict.value}" for verdict, names in self.still.items()]
        for word, found in (("new", self.findings_new), ("gone", self.findings_gone)):
            if found:
                parts.append(f"{len(found)} {_plural('finding', len(found))} {word}")
        for word, changed in (("weakness", self.qualification), ("duration", self.durations)):
            if changed:
                parts.append(f"{len(changed)} {_plural(word, len(changed))} changed")
        return ", ".join(parts) or "nothing changed"


# Reading


def read_side(run_dir: Path) -> Side:
    """Read a run from its folder.

    Raises:
        UsageError: it holds neither a journal nor a summary, or one that cannot be read.
    """
    if (run_dir / "journal.jsonl").is_file():
        return side_of(summary_of(read_run(run_dir)), where=str(run_dir))
    path = run_dir / "summary.json"
    if not path.is_file():
        raise UsageError(
            "there is neither journal.jsonl nor summary.json", where=str(run_dir), hint="give the folder of a run"
        )
    try:
        return side_of(json.loads(path.read_text(encoding="utf-8")), where=str(path))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"cannot be read: {line(str(error))}", where=str(path)) from error


def side_of(summary: Any, *, where: str) -> Side:
    """A run from what its `summary.json` holds; one of an older version may hold less.

    Raises:
        UsageError: it is no summary, or that of a challenge.
    """
    if isinstance(summary, dict) and summary.get("challenge"):
        raise UsageError("is a challenge: a claim was falsified for it, so it is compared with nothing", where=where)
    try:
        return Side(
            run=line(summary["run"]),
            rig=line(summary["rig"]),
            device=line(summary["device"]),
            started=line(summary["started"]),
            ended=line(summary["ended"]),
            problems=tuple(line(each) for each in summary["problems"]),
            cases=tuple(
                Ran(
                    nodeid=line(each["testcase"]),
                    name=line(each.get("name", each["testcase"])),
                    title=line(each["title"]),
                    verdict=Verdict(each["verdict"]),
                    reason=show_text(each["reason"]),
                    seconds=float(each["seconds"]),
                )
                for each in summary["testcases"]
            ),
            left_out={line(nodeid): line(reason) for nodeid, reason in summary["left_out"].items()},
            findings=tuple(
                Found(*(line(each[key]) for key in ("key", "surface", "claim", "harm", "file")))
                for each in summary.get("findings", ())
            ),
            qualification=tuple(
                Trial(line(each["name"]), line(each["result"]), show_text(each["reason"]))
                for each in summary.get("qualification", ())
            ),
            circumstances=dict(_circumstances(summary)),
        )
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise UsageError(f"is no summary of a run: {line(repr(error))}", where=where) from error


def _circumstances(summary: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "rig", line(summary["rig"])
    yield "device", line(summary["device"])
    yield "item", line(str(summary["item"].get("serial", "")))
    yield "operator", line(summary["operator"])
    yield "weaknesses switched on", line(", ".join(summary["weaknesses"]))
    for key, what in (("rig_sha256", "rig file"), ("device_sha256", "device file")):
        yield what, line(summary.get(key, ""))[:16]
    if len(summary.get("device_files", ())) > 1:
        yield "device file with its bases", line(summary.get("device_merged_sha256", ""))[:16]
    for name, digest in (summary.get("image_sha256") or {}).items():
        yield f"image {line(name)}", line(digest)[:16]
    yield "options", line(" ".join(_options(summary.get("settings", ()))))
    yield from ((f"tool {line(name)}", line(version)) for name, version in summary.get("tools", {}).items())


def _options(settings: Sequence[str]) -> Iterator[str]:
    """The options of a run without those that say where it is kept, which are other ones each time."""
    ours, value_follows = ("--run-dir", "--history", "--against"), False
    for each in settings:
        if not value_follows and each.partition("=")[0] not in ours:
            yield each
        value_follows = each in ours


def previous_run(run_dir: Path) -> Path | None:
    """Return the folder beside `run_dir` with the latest run before it of the same rig and device, None without one.

    Raises:
        UsageError: `run_dir` itself holds no run.
    """
    mine = _opening(run_dir)
    if mine is None:
        raise UsageError("holds no run", where=str(run_dir), hint="give the folder of a run")
    found = []
    for folder in run_dir.resolve().parent.iterdir():
        opening = _opening(folder)
        if opening is not None and opening[:2] == mine[:2] and opening[2] < mine[2]:
            found.append((opening[2], folder))
    return max(found)[1] if found else None


def _opening(run_dir: Path) -> tuple[str, str, str] | None:
    """Rig, device and start of a run, from the first lines of its journal or its summary; None of a challenge."""
    try:
        if (run_dir / "journal.jsonl").is_file():
            with (run_dir / "journal.jsonl").open("rb") as file:
                start, rig = (json.loads(file.readline(1 << 20)) for _ in range(2))
            if start["data"].get("challenge"):
                return None
            return str(rig["data"]["rig"]), str(rig["data"]["device"]), str(start["utc"])
        summary = json.loads((run_dir / "summary.json").read_text(encoding="utf-8"))
        if summary.get("challenge"):
            return None
        return str(summary["rig"]), str(summary["device"]), str(summary["started"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


# Comparing


def compare(old: Side, new: Side) -> Changes:
    """Compare two runs: testcases by node id, and those that moved to another file by their name."""
    pairs = _pairs(old, new)
    cases = [change for before, now in pairs if (change := _case_change(before, now, new))]
    cases.sort(key=lambda each: (list(Kind).index(each.kind), each.name))
    still: dict[Verdict, list[str]] = {Verdict.FAIL: [], Verdict.INCONCLUSIVE: [], Verdict.NOT_RUN: []}
    for before, now in pairs:
        if before and now and before.verdict is now.verdict and now.verdict in still:
            still[now.verdict].append(now.name)
    old_keys, new_keys = ({each.key for each in side.findings} for side in (old, new))
    return Changes(
        old=old,
        new=new,
        testcases=tuple(cases),
        durations=tuple(each for before, now in pairs if (each := _duration_change(before, now))),
        findings_new=tuple(each for each in new.findings if each.key not in old_keys),
        findings_gone=tuple(each for each in old.findings if each.key not in new_keys),
        qualification=_qualification(old.qualification, new.qualification),
        circumstances=_values_changed(old.circumstances, new.circumstances),
        still={verdict: tuple(names) for verdict, names in still.items() if names},
    )


def _pairs(old: Side, new: Side) -> list[tuple[Ran | None, Ran | None]]:
    """Each testcase before and now, those of the new run first."""
    before = {each.nodeid: each for each in old.cases}
    known = {each.nodeid for each in new.cases}
    moved = {each.name: each for each in old.cases if each.nodeid not in known}
    pairs: list[tuple[Ran | None, Ran | None]] = []
    for now in new.cases:
        match = before.get(now.nodeid) or moved.get(now.name)
        if match is not None:
            before.pop(match.nodeid, None)
            moved.pop(match.name, None)
        pairs.append((match, now))
    return pairs + [(each, None) for each in before.values()]


_OPEN = (Verdict.INCONCLUSIVE, Verdict.NOT_RUN)


def _case_change(before: Ran | None, now: Ran | None, new: Side) -> CaseChange | None:
    was, is_ = before.verdict if before else None, now.verdict if now else None
    shown = now or before
    if was is is_ or shown is None:
        return None
    reason = now.reason if now else new.left_out.get(shown.nodeid, "the run did not plan it")
    return CaseChange(_kind(was, is_), shown.name, shown.title, was, is_, reason)


def _kind(was: Verdict | None, now: Verdict | None) -> Kind:
    if now is Verdict.FAIL:
        return Kind.NEW_FAILURE
    if was is None or now is None:
        return Kind.NEW if was is None else Kind.VANISHED
    if now in _OPEN:
        return Kind.OTHER if was in _OPEN else Kind.LOST
    if now is Verdict.PASS and was is not Verdict.NOT_APPLICABLE:
        return Kind.FIXED if was is Verdict.FAIL else Kind.DECIDED
    return Kind.OTHER


def _duration_change(before: Ran | None, now: Ran | None) -> Changed | None:
    """A change of verdict explains its duration: only those of the same verdict are compared."""
    if before is None or now is None or before.verdict is not now.verdict:
        return None
    less, more = sorted((before.seconds, now.seconds))
    if more - less <= FLOOR_S or more <= FACTOR * less:
        return None
    return Changed(now.name, f"{before.seconds:.1f} s", f"{now.seconds:.1f} s")


def _qualification(old: Sequence[Trial], new: Sequence[Trial]) -> tuple[Changed, ...]:
    """Weaknesses that came to something else; where only one run tried any, those not as declared now."""
    if not old or not new:
        return tuple(Changed(each.name, "", each.result) for each in new if each.result != AS_DECLARED)
    return _values_changed({each.name: each.result for each in old}, {each.name: each.result for each in new})


def _values_changed(old: Mapping[str, str], new: Mapping[str, str]) -> tuple[Changed, ...]:
    names = dict.fromkeys((*new, *old))
    changed = [Changed(name, old.get(name, ""), new.get(name, "")) for name in names]
    return tuple(each for each in changed if each.before != each.now)


def _plural(word: str, count: int) -> str:
    if count == 1 or word in (Kind.LOST, Kind.VANISHED, Kind.FIXED, Kind.DECIDED, Kind.OTHER):
        return word
    return f"{word}es" if word.endswith("s") else f"{word}s"


# Writing


def changes_json(changes: Changes) -> dict[str, Any]:
    """What `changes.json` holds; version 1."""
    return {
        "changes": 1,
        "in_short": changes.sentence,
        **{
            name: {
                **{key: getattr(side, key) for key in ("run", "rig", "device", "started", "ended")},
                "not_run": [each.name for each in side.cases if each.verdict is Verdict.NOT_RUN],
                "problems": list(side.problems),
            }
            for name, side in (("old", changes.old), ("new", changes.new))
        },
        "testcases": [asdict(each) for each in changes.testcases],
        "still": {verdict.value: list(names) for verdict, names in changes.still.items()},
        "durations": [asdict(each) for each in changes.durations],
        "findings": {
            "new": [asdict(each) for each in changes.findings_new],
            "gone": [asdict(each) for each in changes.findings_gone],
        },
        "qualification": [asdict(each) for each in changes.qualification],
        "circumstances": [asdict(each) for each in changes.circumstances],
    }
