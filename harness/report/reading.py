"""A run read back from its folder: every journal verified, workers merged, one record a testcase.

What the journals cannot bear out is never shown as a PASS: a result whose checks are lost is INCONCLUSIVE.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.clauses.model import Strength, Tag
from harness.clean import file_name
from harness.errors import UsageError
from harness.journal import KINDS, Entry, Reading, read_journal
from harness.verdict import CheckState, Verdict

__all__ = ["CaseRecord", "CheckRecord", "RunRecord", "read_run"]


@dataclass(frozen=True, slots=True)
class CheckRecord:
    """One check as journalled."""

    title: str
    state: CheckState
    expected: str
    observed: str
    claim: str
    source: str
    status: str


@dataclass(frozen=True, slots=True)
class CaseRecord:
    """One planned testcase and what it came to. `checks` are those of the last attempt; `seconds` sums all.

    `watched` are the claims that were watched meanwhile.

    `about` has property, phase, method, threat, severity, hardware, unqualified and effects, as far as they are known.
    """

    nodeid: str
    verdict: Verdict
    reason: str
    id: str = ""
    title: str = ""
    version: int = 0
    tags: tuple[Tag, ...] = ()
    about: Mapping[str, Any] = field(default_factory=dict)
    claims: tuple[str, ...] = ()
    requirements: tuple[str, ...] = ()
    risks: tuple[str, ...] = ()
    checks: tuple[CheckRecord, ...] = ()
    watched: tuple[str, ...] = ()
    attempts: int = 0
    seconds: float = 0.0
    started: str = ""
    worker: str = ""

    @property
    def instance(self) -> str:
        """What stands in brackets after the function name, empty when it runs once."""
        _, bracket, rest = self.nodeid.partition("[")
        return rest.removesuffix("]") if bracket else ""

    @property
    def name(self) -> str:
        """Testcase id and instance, or the node id where the journal has no more."""
        if not self.id:
            return self.nodeid
        return f"{self.id} [{self.instance}]" if self.instance else self.id

    def count(self, state: CheckState) -> int:
        """How many checks came to `state`."""
        return sum(check.state is state for check in self.checks)


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run as its journals have it. `problems` names what is missing or damaged; `ended` is empty if it was killed.

    `challenge` says which claim was falsified for it, and how; empty of every other run. A challenge is no evidence."""

    run_dir: Path
    run: str
    operator: str
    started: str
    ended: str
    exit_code: int | None
    rig: Mapping[str, Any]
    image: Mapping[str, Any]
    tools: Mapping[str, str]
    settings: tuple[str, ...]
    planned: tuple[str, ...]
    left_out: Mapping[str, str]
    left_out_claims: Mapping[str, tuple[str, ...]]
    challenge: Mapping[str, str]
    cases: tuple[CaseRecord, ...]
    faults: tuple[str, ...]
    problems: tuple[str, ...]

    def totals(self) -> dict[str, int]:
        """Count the testcases by verdict."""
        counted = {verdict.value: 0 for verdict in Verdict}
        for case in self.cases:
            counted[case.verdict.value] += 1
        return counted


def read_run(run_dir: Path) -> RunRecord:
    """Read and verify every journal of a run folder.

    Raises:
        UsageError: the folder holds no journal, or one without a single whole line.
    """
    path = run_dir / "journal.jsonl"
    if not path.is_file():
        raise UsageError(
            "there is no journal.jsonl", where=str(run_dir), hint="give the folder of a run under reports/"
        )
    problems: list[str] = []
    main = _read(path, problems)
    if not main.entries:
        raise UsageError("the journal holds no whole line", where=str(path), hint="the run was killed as it began")
    readings = {"main": main, **_workers(run_dir, main, problems)}
    if not main.of("run.end"):
        problems.append("the run did not end: it was killed or crashed")
    cases = _Cases()
    for worker, reading in readings.items():
        cases.take(worker, reading.entries)
    start, rig, end = main.entries[0].data, _last(main, "rig"), _last(main, "run.end")
    left_out = _last(main, "deselected").get("testcases", {})
    records = tuple(cases.records(_last(main, "plan").get("testcases", ())))
    unsupported = [case.name for case in records if case.reason.startswith(_UNSUPPORTED)]
    if unsupported:
        problems.append(f"recorded as PASS, but the checks are not in any whole journal: {', '.join(unsupported)}")
    problems += _photos(run_dir, rig)
    return RunRecord(
        run_dir=run_dir,
        run=start.get("run", run_dir.name),
        operator=start.get("operator", ""),
        started=main.entries[0].utc,
        ended=main.of("run.end")[-1].utc if end else "",
        exit_code=end.get("exit_code"),
        rig=rig,
        image=next((_last(each, "image") for each in readings.values() if each.of("image")), {}),
        tools=start.get("tools", {}),
        settings=tuple(start.get("settings", ())),
        planned=tuple(_last(main, "plan").get("testcases", ())),
        left_out=dict(left_out) if isinstance(left_out, Mapping) else dict.fromkeys(left_out, "deselected"),
        left_out_claims={
            nodeid: tuple(claims) for nodeid, claims in _last(main, "deselected").get("claims", {}).items()
        },
        challenge=start.get("challenge", {}),
        cases=records,
        faults=tuple(str(entry.data["what"]) for each in readings.values() for entry in each.of("fault")),
        problems=tuple(problems),
    )


_UNSUPPORTED = "recorded as PASS, but"
_ABOUT = ("severity", "hardware", "unqualified", "effects")


def _last(reading: Reading, kind: str) -> Mapping[str, Any]:
    entries = reading.of(kind)
    return entries[-1].data if entries else {}


def _read(path: Path, problems: list[str]) -> Reading:
    """Read a journal as far as it can be believed, and say what is wrong with the rest.

    Where the chain breaks, the line before the break may be the changed one: it is not believed either.
    """
    reading = read_journal(path)
    entries = reading.entries
    if reading.broken_at is not None:
        line = reading.broken_at + 1
        problems.append(f"{path.name}: the chain breaks at line {line}; nothing from the line before it on is used")
        entries = entries[:-1]
    if entries and not _sound(entries[-1]):
        # Nothing follows the last line that could vouch for it.
        problems.append(f"{path.name}: line {len(entries)} is damaged and not used")
        entries = entries[:-1]
    if reading.torn:
        problems.append(f"{path.name}: the last line is torn (the process was killed while writing it)")
    return replace(reading, entries=entries)


def _sound(entry: Entry) -> bool:
    """Whether a line holds what its kind must hold."""
    try:
        if not KINDS[entry.kind] <= entry.data.keys():
            return False
        match entry.kind:
            case "check":
                CheckState(entry.data["state"])
            case "result" | "case.end":
                Verdict(entry.data["verdict"])
            case "case.start":
                _tags(entry.data)
            case "plan":
                for meta in entry.data.get("about", {}).values():
                    _tags(meta)
        return True
    except (KeyError, ValueError, AttributeError, TypeError):
        return False


def _tags(meta: Mapping[str, Any]) -> tuple[Tag, ...]:
    return tuple(Tag(clause_id=tag["clause"], strength=Strength(tag["strength"])) for tag in meta.get("clauses", ()))


def _photos(run_dir: Path, rig: Mapping[str, Any]) -> Iterable[str]:
    """Say which photographs of the set-up are not those of the run any more."""
    for photo in rig.get("photos", ()):
        try:
            digest = hashlib.sha256((run_dir / photo["file"]).read_bytes()).hexdigest()
        except OSError as error:
            yield f"{photo['file']}: cannot be read: {error.strerror}"
            continue
        if digest != photo["sha256"]:
            yield f"{photo['file']}: is not the photograph the journal recorded"


def _workers(run_dir: Path, main: Reading, problems: list[str]) -> dict[str, Reading]:
    """Read the journals of the workers and compare them with what the main journal says of them."""
    first = {entry.data["worker"]: entry.data["first"] for entry in main.of("worker.start")}
    last = {entry.data["worker"]: entry.data for entry in main.of("worker.end")}
    found: dict[str, Reading] = {}
    for worker in sorted({*first, *last}):
        path = run_dir / f"journal-{file_name(worker)}.jsonl"
        if not path.is_file():
            problems.append(f"{path.name}: the journal of worker {worker} is missing")
            continue
        reading = _read(path, problems)
        found[worker] = reading
        opening = hashlib.sha256(path.read_bytes().partition(b"\n")[0]).hexdigest()
        if worker in first and opening != first[worker]:
            problems.append(f"{path.name}: its first line is not the one the main journal recorded")
        if worker not in last:
            problems.append(f"worker {worker} did not end: it was killed or crashed")
        elif reading.head != last[worker]["last"] or len(reading.entries) != last[worker]["lines"]:
            problems.append(
                f"{path.name}: {len(reading.entries)} lines, but the main journal recorded "
                f"{last[worker]['lines']} with another last hash"
            )
    for path in sorted(run_dir.glob("journal-*.jsonl")):
        worker = path.name.removeprefix("journal-").removesuffix(".jsonl")
        if worker not in {file_name(name) for name in (*first, *last)}:
            # The worker died before its first result: its journal is still of use, but nobody vouches for it.
            problems.append(f"{path.name}: the main journal does not know this worker; the run was killed early")
            found[worker] = _read(path, problems)
    return found


@dataclass
class _Gathered:
    meta: dict[str, Any] = field(default_factory=dict)
    started: str = ""
    worker: str = ""
    attempts: int = 0
    ends: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    checks: list[CheckRecord] = field(default_factory=list)
    watched: list[str] = field(default_factory=list)
    results: list[Mapping[str, Any]] = field(default_factory=list)


class _Cases:
    """Gathers what the journals say of each testcase."""

    def __init__(self) -> None:
        self._by_id: dict[str, _Gathered] = {}

    def take(self, worker: str, entries: Iterable[Entry]) -> None:
        """Take the lines of one journal, in order."""
        for entry in entries:
            data = entry.data
            match entry.kind:
                case "plan":
                    for nodeid, meta in data.get("about", {}).items():
                        self._of(nodeid).meta = {**meta, **self._of(nodeid).meta}
                case "case.start":
                    case = self._of(data["testcase"])
                    case.meta.update({key: value for key, value in data.items() if key != "attempt"})
                    case.started = case.started or entry.utc
                    case.worker = worker
                    case.attempts = data["attempt"]
                    case.checks, case.watched = [], []
                case "check":
                    self._of(data["testcase"]).checks.append(_check(data))
                case "watch":
                    self._of(data["testcase"]).watched.append(data.get("claim", ""))
                case "case.end":
                    self._of(data["testcase"]).ends[data["attempt"]] = data
                case "result":
                    self._of(data["testcase"]).results.append(data)

    def records(self, planned: Iterable[str]) -> Iterable[CaseRecord]:
        """One record a planned testcase, in the order of the plan, then what ran without being planned."""
        order = dict.fromkeys(planned)
        order.update(dict.fromkeys(key for key, case in self._by_id.items() if case.attempts or case.results))
        for nodeid in order:
            yield _record(nodeid, self._of(nodeid))

    def _of(self, nodeid: str) -> _Gathered:
        return self._by_id.setdefault(nodeid, _Gathered())


def _check(data: Mapping[str, Any]) -> CheckRecord:
    return CheckRecord(
        title=data["title"],
        state=CheckState(data["state"]),
        expected=data["expected"],
        observed=data["observed"],
        claim=data["claim"],
        source=data.get("source", ""),
        status=data.get("status", ""),
    )


def _record(nodeid: str, case: _Gathered) -> CaseRecord:
    verdict, reason = _verdict(case)
    meta = case.meta
    return CaseRecord(
        nodeid=nodeid,
        verdict=verdict,
        reason=reason,
        id=meta.get("id", ""),
        title=meta.get("title", ""),
        version=meta.get("version", 0),
        tags=_tags(meta),
        about={**meta.get("about", {}), **{key: meta[key] for key in _ABOUT if key in meta}},
        claims=tuple(meta.get("claims", ())),
        requirements=tuple(meta.get("requirements", ())),
        risks=tuple(meta.get("risks", ())),
        checks=tuple(case.checks),
        watched=tuple(dict.fromkeys(filter(None, case.watched))),
        attempts=case.attempts,
        seconds=sum(end["seconds"] for end in case.ends.values()),
        started=case.started,
        worker=case.worker,
    )


def _verdict(case: _Gathered) -> tuple[Verdict, str]:
    """The verdict the journals bear out: a FAIL stands, a PASS needs its last attempt's end in a whole journal."""
    said = [*case.results, *(case.ends[number] for number in sorted(case.ends))]
    for entry in said:
        if entry["verdict"] == Verdict.FAIL:
            return Verdict.FAIL, entry["reason"]
    last = case.ends.get(max(1, case.attempts))
    if case.results:
        verdict, reason = Verdict(case.results[-1]["verdict"]), case.results[-1]["reason"]
        if verdict is Verdict.PASS and (last is None or last["verdict"] != Verdict.PASS):
            return Verdict.INCONCLUSIVE, f"{_UNSUPPORTED} the journal that holds its checks is missing or damaged"
        return verdict, reason
    if last is not None:
        return Verdict(last["verdict"]), last["reason"]
    if case.attempts:
        return Verdict.NOT_RUN, "the run ended during it"
    return Verdict.NOT_RUN, "the run ended before it"
