"""What a catalogue file may hold: pydantic models of the YAML people edit, and their reading.

A document file has one `document`, `defaults` for its rows, `groups` of clauses and a list of `withheld` ids.
Defaults of the file are overlaid by those of the group, and these by the row itself. `provenance.yaml` and
`crosswalk.yaml` are the two other kinds of file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, SequenceNode

from harness.errors import UsageError

__all__ = [
    "ClauseRow",
    "CrosswalkFile",
    "DocumentFile",
    "LinkRow",
    "ProvenanceFile",
    "TargetRow",
    "parse",
]

ClauseId = Annotated[str, Field(pattern=r"^[A-Z][\w.-]*/[\w.-]+$")]
Method = Literal["fuzz", "scan", "penetration", "function"]
ConfidenceLetter = Literal["H", "M", "L"]


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Titles(_Row):
    """A title in English and, where a source gives it, in the language of the document."""

    en: str = Field(min_length=1)
    zh: str = ""
    fr: str = ""


class ClauseRow(_Row):
    """One clause. `bench`: Y a bench test can verify it, P partly, D document review, absent: not for tests."""

    id: ClauseId
    title: Titles
    paraphrase: str = ""
    place: str = ""
    kind: Literal["clause", "phase"] = "clause"
    bench: Literal["Y", "P", "D"] | None = None
    bench_note: str = ""
    test: str = ""
    content: Literal["full", "summary", "heading", "none"]
    source: Literal["official", "mirror", "secondary"]
    certainty: Literal["high", "medium", "low"] | None = None
    level: int | None = Field(default=None, ge=1, le=4)
    provenance: list[str] = Field(min_length=1)
    successor: ClauseId | None = None
    note: str = ""

    @field_validator("provenance")
    @classmethod
    def _never_general_knowledge(cls, keys: list[str]) -> list[str]:
        if "GK" in keys:
            raise ValueError("a row from general knowledge may not stand in the catalogue")
        return keys

    @model_validator(mode="after")
    def _read_text_has_paraphrase(self) -> ClauseRow:
        if self.content == "full" and not self.paraphrase:
            raise ValueError("content is full, so a paraphrase is due")
        return self


class GroupRow(_Row):
    """A named run of clauses, as the source orders them."""

    name: str = Field(min_length=1)
    clauses: list[ClauseRow] = Field(min_length=1)


class WithheldRow(_Row):
    """Ids kept out on purpose: a regular expression for the whole id, and why."""

    pattern: str
    reason: str = Field(min_length=1)

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from error
        return pattern


class DocumentRow(_Row):
    """The header. `numbering: proofrig` means that Proofrig, not the document, assigned the row ids.

    `replaces: true` lets an added catalogue stand in for a built-in one of the same id (a lab that owns the
    standard brings its rows in full).
    """

    id: str = Field(pattern=r"^[A-Z][\w.-]*$")
    prefixes: list[str] = []
    title: str = Field(min_length=1)
    native_title: str = ""
    issuer: str = ""
    status: Literal["draft", "superseded", "final", "withdrawn", "in-use", "unverified"]
    superseded_by: str | None = None
    numbering: Literal["proofrig", "document"]
    provenance: list[str] = Field(min_length=1)
    note: str = ""
    replaces: bool = False

    @model_validator(mode="after")
    def _replaced_names_heir(self) -> DocumentRow:
        if self.status in ("superseded", "withdrawn") and not self.superseded_by:
            raise ValueError(f"status {self.status} needs superseded_by")
        return self


class DocumentFile(_Row):
    """One catalogue file: a document and its clauses (none where only its status is known)."""

    document: DocumentRow
    groups: list[GroupRow] = []
    withheld: list[WithheldRow] = []

    @model_validator(mode="before")
    @classmethod
    def _spread_defaults(cls, data: Any) -> Any:
        """Overlay row on group on file; what is not shaped so is left for validation to name."""
        if not isinstance(data, dict):
            return data
        spread = {key: value for key, value in data.items() if key != "defaults"}
        if isinstance(groups := spread.get("groups"), list):
            spread["groups"] = [_with_defaults(group, data.get("defaults")) for group in groups]
        return spread

    @model_validator(mode="after")
    def _ids_belong_here(self) -> DocumentFile:
        prefixes = self.document.prefixes or [self.document.id]
        for row in self.rows():
            if row.id.partition("/")[0] not in prefixes:
                raise ValueError(f"clause {row.id} does not begin with {' or '.join(prefixes)}")
            if any(re.fullmatch(held.pattern, row.id) for held in self.withheld):
                raise ValueError(f"clause {row.id} is withheld in the same file")
        return self

    def rows(self) -> Iterator[ClauseRow]:
        """All clauses, in the order of the file."""
        for group in self.groups:
            yield from group.clauses


def _with_defaults(group: Any, outer: Any) -> Any:
    if not isinstance(group, dict) or not isinstance(group.get("clauses"), list):
        return group
    defaults = {**(outer or {}), **(group.get("defaults") or {})}
    rows = [{**defaults, **row} if isinstance(row, dict) else row for row in group["clauses"]]
    return {**{key: value for key, value in group.items() if key != "defaults"}, "clauses": rows}


class ProvenanceRow(_Row):
    """One source: what it is, how far it carries, where it was found."""

    key: str = Field(pattern=r"^[A-Z][\w-]*$")
    what: str = Field(min_length=1)
    quality: str = Field(min_length=1)
    urls: list[str] = []
    sha256: str = ""


class ProvenanceFile(_Row):
    """`provenance.yaml`."""

    provenance: list[ProvenanceRow]


class TargetRow(_Row):
    """Where a link leads. `part` narrows it to an item; `catalogued: false` has no row to resolve to."""

    id: str = Field(min_length=1)
    part: str = ""
    catalogued: bool = True


class LinkRow(_Row):
    """Targets of one confidence; in the file a target without `part` is written as its bare id."""

    to: list[TargetRow] = Field(min_length=1)
    confidence: ConfidenceLetter | None = None
    both_ways: bool = False

    @field_validator("to", mode="before")
    @classmethod
    def _bare_ids(cls, targets: Any) -> Any:
        if not isinstance(targets, list):
            return targets
        return [{"id": target} if isinstance(target, str) else target for target in targets]


class CapabilityRow(_Row):
    """All links of one clause."""

    clause: ClauseId
    links: list[LinkRow]


class MethodRow(_Row):
    """Clauses that a testcase of one method meets alike."""

    method: Method
    confidence: ConfidenceLetter
    members: list[ClauseId] = Field(min_length=2)


class CrosswalkFile(_Row):
    """`crosswalk.yaml`."""

    capabilities: list[CapabilityRow] = []
    methods: list[MethodRow] = []


_File = TypeVar("_File", DocumentFile, ProvenanceFile, CrosswalkFile)


def parse(model: type[_File], text: str, *, name: str) -> _File:
    """Read one catalogue file. Scalars are taken as written: `1.10` stays a text, a date is no date.

    Raises:
        UsageError: not YAML, or not of the shape of `model`; `where` gives file, line and key.
    """
    try:
        data = _yaml().load(text)
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error)
        raise UsageError(f"not valid YAML: {problem}", where=f"{name}:{mark.line + 1 if mark else 1}") from error
    except TypeError as error:  # ruamel's answer to a mapping or list used as a key
        raise UsageError("not valid YAML here: a key is not plain text", where=f"{name}:1") from error
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"]) or "the file"
        raise UsageError(first["msg"], where=f"{name}:{_line_of(text, first['loc'])}: {key}") from error


def _yaml() -> YAML:
    return YAML(typ="base", pure=True)


def _line_of(text: str, path: tuple[int | str, ...]) -> int:
    """Line (from 1) of the innermost element of `path` that the file really has."""
    node, line = _yaml().compose(text), 1
    for step in path:
        if isinstance(node, MappingNode):
            found = [(key, value) for key, value in node.value if key.value == step]
            if not found:
                break
            key, node = found[0]
            line = key.start_mark.line + 1
        elif isinstance(node, SequenceNode) and isinstance(step, int):
            node = node.value[step]
            line = node.start_mark.line + 1
        else:
            break
    return line
