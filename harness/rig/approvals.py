"""Approving claims: who stands behind a claim, by which document, since when; and the record of that.

The status stands in the device file, for people. Beside it lies the record, `NAME.approvals.jsonl`: a journal with one
line an approval, only ever appended to, which also holds what exactly was approved (the SHA-256 of the claim).
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import Comment, CommentedMap
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from harness.errors import UsageError
from harness.journal import Journal, read_journal
from harness.rig.claims import ClaimBase, Source, Status
from harness.rig.device_file import DeviceFile
from harness.rig.loading import read_device
from harness.rig.variants import read_tree

__all__ = ["Approved", "approvals_of", "approve", "claim_sha256", "parse_source", "record_of"]


_KINDS = MappingProxyType(
    {
        "approval": frozenset(
            {"device", "file", "device_sha256", "claim", "claim_sha256", "by", "on", "source", "before"}
        )
    }
)
"""The lines of the record. `device_sha256` is of the file before; `before` is the claim's status and source then."""


@dataclass(frozen=True, slots=True)
class Approved:
    """A claim that was approved just now: what it was before, and where it is written down."""

    claim: str
    before: Status
    source: Source


def record_of(device_path: Path) -> Path:
    """Return where the approvals of a device file are recorded."""
    return (device_path.resolve() if device_path.is_symlink() else device_path).with_suffix(".approvals.jsonl")


def claim_sha256(claim: ClaimBase) -> str:
    """Return the SHA-256 of what a claim says and where that is written down: without its status, as JSON."""
    said = claim.model_dump(mode="json", exclude={"status", "approval"})
    return hashlib.sha256(json.dumps(said, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def parse_source(text: str) -> Source:
    """Return the source that `DOCUMENT REVISION, SECTION` names, or `DOCUMENT rev. REVISION § SECTION` as reports do.

    Raises:
        UsageError: one of the three is missing.
    """
    found = re.fullmatch(r"(?P<document>.+?) rev\. (?P<revision>.+?) § (?P<section>.+)", text.strip()) or re.fullmatch(
        r"(?P<document>[^,]+?)(?:,?\s+rev(?:ision|\.)?)?\s+(?P<revision>[^\s,]+)\s*,\s*(?P<section>.+)",
        text.strip(),
        re.IGNORECASE,
    )
    if found is None:
        raise UsageError(
            f"source {text!r} does not name document, revision and section",
            hint="write DOCUMENT REVISION, SECTION: --source 'IFU 3.2, p. 14'",
        )
    return Source(**found.groupdict())


def approve(path: Path, claims: Sequence[str], *, by: str, source: Source | None, today: date) -> list[Approved]:
    """Set claims of a device file to approved, record it, and return them. Comments and order of the file stay.

    Without `source` a claim keeps the one it has, if that is not a scan's. The record is written first: a file that
    says approved is never without it.

    Raises:
        UsageError: no such claim in this very file; a claim a scan wrote gets no source; the file is not valid.
    """
    if path.is_symlink():
        path = path.resolve()  # the file changes, not the link
    if not by.strip():
        raise UsageError("an approval needs a name", hint="--by 'J. Doe'")
    with _locked(path):
        blob = path.read_bytes() if path.is_file() else b""
        loaded = read_device(path)
        tree = read_tree(path, blob, quotes=True)
        approved = [_approvable(path, tree, loaded.device, claim_id, source) for claim_id in dict.fromkeys(claims)]
        for each in approved:
            _state(tree["claims"][each.claim], each.source, by=by, today=today)
        with _written_beside(path, tree, blob, [each.claim for each in approved]) as made:
            after = read_device(made).device
            _expect_nothing_else_changed(path, loaded.device, after, [each.claim for each in approved])
            journal = Journal(record_of(path), resume=True, kinds=_KINDS)
            try:
                for each in approved:
                    journal.write(
                        "approval",
                        device=loaded.device.device,
                        file=path.name,
                        claim=each.claim,
                        claim_sha256=claim_sha256(after.claims[each.claim]),
                        by=by,
                        on=today.isoformat(),
                        source=str(each.source),
                        before={"status": each.before.value, "source": str(loaded.device.claims[each.claim].source)},
                        device_sha256=hashlib.sha256(blob).hexdigest(),
                    )  # fmt: skip
                journal.sync()
            finally:
                journal.close()
            made.replace(path)
            _sync_folder(path.parent)
    return approved


def approvals_of(device: DeviceFile, paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Return who approved which claim of a device, for the record of a run.

    `record` says whether the records beside the device file and its bases (`paths`) bear it out: `as approved`;
    `changed since`, if the claim or its source is another one now; `none`, if no line says so.
    """
    recorded: dict[str, list[Mapping[str, Any]]] = {}
    for path in paths:
        if record_of(path).is_file():
            for entry in read_journal(record_of(path)).of("approval"):
                recorded.setdefault(str(entry.data.get("claim")), []).append(entry.data)
    found = []
    for claim_id, claim in device.claims.items():
        if claim.approval is None:
            continue
        by, on = claim.approval.by, claim.approval.on.isoformat()
        lines = [line for line in recorded.get(claim_id, ()) if (line.get("by"), line.get("on")) == (by, on)]
        same = any(line.get("claim_sha256") == claim_sha256(claim) for line in lines)
        found.append(
            {
                "claim": claim_id,
                "by": by,
                "on": on,
                "source": str(claim.source),
                "claim_sha256": claim_sha256(claim),
                "record": "as approved" if same else "changed since" if lines else "none",
            }
        )
    return found


def _approvable(path: Path, tree: CommentedMap, device: DeviceFile, claim_id: str, source: Source | None) -> Approved:
    """Return what approving a claim comes to."""
    if claim_id not in device.claims:
        known = ", ".join(each for each, claim in device.claims.items() if claim.status is not Status.APPROVED)
        raise UsageError(
            f"no claim {claim_id!r}", where=str(path), hint=f"claims that are not approved: {known or 'none'}"
        )
    stated = tree["claims"] if "claims" in tree else CommentedMap()
    if claim_id not in stated:
        raise UsageError(
            f"claim {claim_id} is not stated in this file but in its base {device.base}",
            where=str(path),
            hint="approve it there",
        )
    others = [name for name, node in stated.items() if node is stated[claim_id] and name != claim_id]
    if others:
        raise UsageError(
            f"claims {', '.join([claim_id, *others])} are one in the file, by a YAML alias",
            where=f"{path}:{stated.lc.key(claim_id)[0] + 1}: claims.{claim_id}",
            hint="write each of them out",
        )
    claim = device.claims[claim_id]
    if source is None and claim.status is Status.OBSERVED:
        raise UsageError(
            f"claim {claim_id} was written by a scan, which is no source", where=str(path), hint="give --source"
        )
    return Approved(claim_id, claim.status, source or claim.source)


def _state(claim: CommentedMap, source: Source, *, by: str, today: date) -> None:
    """Write source, status and approval into the node of a claim."""
    approval = _mapping({"by": by}, like=claim.get("approval"))
    approval["on"] = date.fromordinal(today.toordinal())  # one object for many would be written as a YAML alias
    stated: dict[str, object] = {"status": Status.APPROVED.value, "approval": approval}
    for name, value in stated.items():
        if name in claim:
            claim[name] = value
        else:  # never as the last key: behind that stand the comments of what comes next
            claim.insert(list(claim).index("source") if "source" in claim else 0, name, value)
    claim["source"] = _mapping(source.model_dump(), like=claim.get("source"))


def _mapping(values: Mapping[str, str], *, like: object) -> CommentedMap:
    """Return a mapping of texts, with the style and the comments of the one it takes the place of."""
    node = CommentedMap({name: DoubleQuotedScalarString(value) for name, value in values.items()})
    if isinstance(like, CommentedMap):
        setattr(node, Comment.attrib, like.ca)
    if not isinstance(like, CommentedMap) or like.fa.flow_style():
        node.fa.set_flow_style()
    return node


def _expect_nothing_else_changed(path: Path, before: DeviceFile, after: DeviceFile, claims: Sequence[str]) -> None:
    """Writing YAML anew must change nothing but what was meant."""
    stated = {"source", "status", "approval"}
    same = before.model_copy(update={"claims": {}}) == after.model_copy(update={"claims": {}})
    for claim_id, claim in before.claims.items():
        leave = stated if claim_id in claims else set()
        same = same and claim.model_dump(exclude=leave) == after.claims[claim_id].model_dump(exclude=leave)
    if not same or list(before.claims) != list(after.claims):
        raise UsageError(
            "would say something else if it were written anew; nothing was approved",
            where=str(path),
            hint="approve it by hand: status: approved",
        )


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the folder of a device file: approvals of one file are made one after the other."""
    try:
        folder = os.open(path.parent, os.O_RDONLY)
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror}", where=str(path), hint="check the path") from error
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


@contextmanager
def _written_beside(path: Path, tree: CommentedMap, blob: bytes, claims: Sequence[str]) -> Iterator[Path]:
    """Write `tree` into a file beside `path`, as `blob` but for `claims`; it is gone afterwards if it was not moved."""
    written = _with_claims(path, blob.decode("utf-8"), _dumped(tree, blob.decode("utf-8")), claims)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    made = Path(name)
    try:
        with open(handle, "wb") as file:  # noqa: PTH123  (a descriptor)
            file.write(written.encode("utf-8"))
            file.flush()
            os.fchmod(file.fileno(), path.stat().st_mode & 0o7777)
            os.fsync(file.fileno())
        yield made
    finally:
        made.unlink(missing_ok=True)


def _dumped(tree: CommentedMap, text: str) -> str:
    """Return `tree` as YAML, with its lists indented as those of `text`."""
    yaml = YAML(typ="rt")
    yaml.width = 100_000  # nothing is folded anew
    if re.search(r"(?m)^( *)[^\s#-][^\n]*:[ \t]*(?:#.*)?\n(?:\s*(?:#.*)?\n)*\1  - ", text):
        yaml.indent(mapping=2, sequence=4, offset=2)
    stream = io.StringIO()
    yaml.dump(tree, stream)
    return stream.getvalue()


def _with_claims(path: Path, old: str, new: str, claims: Sequence[str]) -> str:
    """Return `old` with the lines of `claims` from `new`: writing YAML anew would set everything else anew, too.

    Claims that have no lines of their own make all of it new.
    """
    places = [_lines_of_claims(read_tree(path, text.encode()), text) for text in (old, new)]
    if not all(claim in place for claim in claims for place in places):
        return new
    before, after = places
    lines, others = old.splitlines(keepends=True), new.splitlines(keepends=True)
    for claim in sorted(claims, key=lambda each: before[each][0], reverse=True):
        lines[slice(*before[claim])] = others[slice(*after[claim])]
    return "".join(lines)


def _lines_of_claims(tree: CommentedMap, text: str) -> dict[str, tuple[int, int]]:
    """Return for each claim that has lines of its own the first of them, and the first behind them."""
    claims = tree["claims"]
    starts = {name: claims.lc.key(name)[0] for name in claims}
    own = sorted(starts.values())
    ends = sorted({*own, *(tree.lc.key(name)[0] for name in tree), len(text.splitlines())})
    return {
        name: (start, next(end for end in ends if end > start))
        for name, start in starts.items()
        if own.count(start) == 1 and start > tree.lc.key("claims")[0]
    }


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
