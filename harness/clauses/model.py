"""The clause registry: which points of which guideline a testcase may be tagged with, and how strongly.

Ids are written `DOCUMENT/CLAUSE` without spaces: `NMPA-2022/ALOF`, `NMPA-2022/RPT-2.3-PRIV`, `NMPA-2020/T1-sep`,
`ANSM-2019/CRIT-D`, `YYT-1843/4.1.3`, `FDA-VC/REQ`, `FDA-A1/A`, `MDCG-2019-16/3.7`, `MDS2-2019/ALOF`,
`GBT-25000.51-2016/TESTDOC`, `IEC62443-4-2/CR-1.11` (also `EDR-`, `NDR-`), `IEC62443-4-1/SVV-3`,
`IEC81001-5-1/5.7.3`. Where `Document.numbering` is `proofrig`, the document has no such number and reports say
"identifier assigned by Proofrig".

What a tag may say follows from how a clause was read and what a bench can show of it:

    content            bench Y                  bench P        bench D    no bench
    full, summary      verifies, contributes    contributes    review     none
    heading, none      none: navigation only; reached as a derived tag through the cross-walk

A bare general-knowledge fact has no row at all; ids that one might expect are withheld, with the reason.
"""

from __future__ import annotations

import difflib
import enum
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, TypeVar

from harness.errors import UsageError

__all__ = [
    "Clause",
    "Confidence",
    "CrossLink",
    "Document",
    "Provenance",
    "Registry",
    "Strength",
    "Tag",
    "Withheld",
]

Bench = Literal["Y", "P", "D"]
Content = Literal["full", "summary", "heading", "none"]
Source = Literal["official", "mirror", "secondary"]
Status = Literal["draft", "superseded", "final", "withdrawn", "in-use", "unverified"]


class Strength(enum.StrEnum):
    """What a testcase does for a clause, strongest first."""

    VERIFIES = "verifies"
    CONTRIBUTES = "contributes"
    REVIEW = "review"


class Confidence(enum.StrEnum):
    """How sure a cross-walk link is: high, medium, low. Links that were not rated have none."""

    HIGH = "H"
    MEDIUM = "M"
    LOW = "L"


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """A source of the catalogue and how far it carries."""

    key: str
    what: str
    quality: str
    urls: tuple[str, ...] = ()
    sha256: str = ""


@dataclass(frozen=True, kw_only=True)
class Withheld:
    """Ids kept out of the catalogue on purpose."""

    pattern: re.Pattern[str]
    reason: str


@dataclass(frozen=True, kw_only=True)
class Document:
    """A guideline or standard. `groups` are its chapters as (name, clause ids), in order; empty if unread."""

    id: str
    title: str
    status: Status
    numbering: Literal["proofrig", "document"]
    native_title: str = ""
    issuer: str = ""
    superseded_by: str | None = None
    provenance: tuple[str, ...] = ()
    note: str = ""
    groups: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @property
    def numbering_note(self) -> str:
        """What a report says beside the ids of this document; empty where the numbers are its own."""
        return "identifier assigned by Proofrig" if self.numbering == "proofrig" else ""


@dataclass(frozen=True, kw_only=True)
class Clause:
    """One row of the catalogue. `level` is the lowest IEC 62443 SL-C that selects the requirement."""

    id: str
    document: str
    group: str
    title: str
    title_zh: str = ""
    title_fr: str = ""
    paraphrase: str = ""
    place: str = ""
    kind: Literal["clause", "phase"] = "clause"
    bench: Bench | None = None
    bench_note: str = ""
    test: str = ""
    content: Content
    source: Source
    certainty: Literal["high", "medium", "low"] | None = None
    level: int | None = None
    provenance: tuple[str, ...] = ()
    successor: str | None = None
    note: str = ""

    @property
    def strengths(self) -> tuple[Strength, ...]:
        """The strengths a testcase may tag this clause with, strongest first; empty for navigation only."""
        if self.kind == "phase" or self.content in ("heading", "none") or self.bench is None:
            return ()
        return _STRENGTHS[self.bench]


_STRENGTHS: Mapping[Bench, tuple[Strength, ...]] = MappingProxyType(
    {
        "Y": (Strength.VERIFIES, Strength.CONTRIBUTES),
        "P": (Strength.CONTRIBUTES,),
        "D": (Strength.REVIEW,),
    }
)


@dataclass(frozen=True, kw_only=True)
class Tag:
    """A checked tag of a testcase."""

    clause_id: str
    strength: Strength


@dataclass(frozen=True, kw_only=True)
class CrossLink:
    """A link of the cross-walk: what meets `clause` also bears on `target` (its `part`, if named).

    `method` limits the link to testcases of that method. `catalogued` is false where `target` has no row: it may
    be shown, but is never evidence.
    """

    clause: str
    target: str
    confidence: Confidence | None
    part: str = ""
    method: str | None = None
    catalogued: bool = True


@dataclass(frozen=True, kw_only=True)
class Registry:
    """All documents, clauses and links. `version` is the hash of every catalogue file that went in."""

    version: str
    documents: Mapping[str, Document]
    clauses: Mapping[str, Clause]
    provenance: Mapping[str, Provenance]
    links: tuple[CrossLink, ...]
    withheld: tuple[Withheld, ...] = ()
    _from: Mapping[str, tuple[CrossLink, ...]] = field(init=False, repr=False, compare=False)
    _to: Mapping[str, tuple[CrossLink, ...]] = field(init=False, repr=False, compare=False)
    _heirs: Mapping[str, tuple[Clause, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_from", _grouped((link.clause, link) for link in self.links))
        object.__setattr__(self, "_to", _grouped((link.target, link) for link in self.links))
        heirs = ((row.successor, row) for row in self.clauses.values() if row.successor)
        object.__setattr__(self, "_heirs", _grouped(heirs))

    def clause(self, clause_id: str, *, where: str | None = None) -> Clause:
        """The row of this id.

        Raises:
            UsageError: no such row; the hint gives the reason it is withheld, or ids that look alike.
        """
        if found := self.clauses.get(clause_id):
            return found
        for held in self.withheld:
            if held.pattern.fullmatch(clause_id):
                raise UsageError(f"clause {clause_id} is kept out of the catalogue", where=where, hint=held.reason)
        if alike := self._alike(clause_id):
            hint = f"did you mean {' or '.join(alike)}?"
        else:
            hint = f"ids are DOCUMENT/CLAUSE; documents: {', '.join(sorted(self.documents))}"
        raise UsageError(f"unknown clause {clause_id!r}", where=where, hint=hint)

    def document(self, document_id: str) -> Document:
        """The document of this id (that of a clause is `Clause.document`).

        Raises:
            UsageError: no such document.
        """
        if found := self.documents.get(document_id):
            return found
        hint = f"documents: {', '.join(sorted(self.documents))}"
        raise UsageError(f"unknown document {document_id!r}", hint=hint)

    def check_tag(self, clause_id: str, strength: Strength | str, *, where: str | None = None) -> Tag:
        """Check that a testcase may be tagged so.

        Raises:
            UsageError: unknown clause or strength, or more than the catalogue's reading of it carries.
        """
        row = self.clause(clause_id, where=where)
        if strength not in tuple(Strength):
            raise UsageError(
                f"unknown strength {strength!r} for {clause_id}",
                where=where,
                hint=f"one of {', '.join(Strength)}",
            )
        strength = Strength(strength)
        if strength in row.strengths:
            return Tag(clause_id=clause_id, strength=strength)
        if row.strengths:
            raise UsageError(
                f"{clause_id} cannot be tagged '{strength}': {_BENCH_WORDS[row.bench or 'D']}",
                where=where,
                hint=f"use {' or '.join(map(repr, map(str, row.strengths)))}",
            )
        raise UsageError(
            f"{clause_id} is for navigation only: {_why_navigation(row)}",
            where=where,
            hint=self._way_round(row),
        )

    def check_phase(self, clause_id: str, *, where: str | None = None) -> Clause:
        """Check that a row names a life-cycle phase.

        Raises:
            UsageError: unknown id, or a clause that is no phase.
        """
        row = self.clause(clause_id, where=where)
        if row.kind != "phase":
            phases = ", ".join(sorted(key for key, each in self.clauses.items() if each.kind == "phase"))
            raise UsageError(f"{clause_id} is not a life-cycle phase", where=where, hint=f"phases: {phases}")
        return row

    def derived(self, clause_id: str, *, method: str | None = None) -> list[CrossLink]:
        """Where evidence for this clause also bears, for a testcase of this method.

        Links are followed from clause to target, backwards only where the two say the same, and never on from
        there. A tag that follows from one is shown as derived, with the link's confidence.

        Raises:
            UsageError: unknown clause.
        """
        self.clause(clause_id)
        return [link for link in self._from.get(clause_id, ()) if link.method in (None, method)]

    def leading_to(self, clause_id: str) -> list[CrossLink]:
        """The links whose target this clause is, of any method."""
        return list(self._to.get(clause_id, ()))

    def successor(self, clause_id: str) -> Clause | None:
        """The row of the later document that took this clause's place, if the catalogue knows one.

        Raises:
            UsageError: unknown clause.
        """
        heir = self.clause(clause_id).successor
        return self.clauses[heir] if heir else None

    def predecessors(self, clause_id: str) -> list[Clause]:
        """The rows of earlier documents whose successor this clause is."""
        return list(self._heirs.get(clause_id, ()))

    def _alike(self, clause_id: str) -> list[str]:
        """Ids one may have meant: the same but for case and spaces, else the closest three."""
        folded = {key.casefold(): key for key in self.clauses}
        plain = re.sub(r"\s+", "-", clause_id.strip()).casefold()
        if plain in folded:
            return [folded[plain]]
        return [folded[key] for key in difflib.get_close_matches(plain, folded, n=3, cutoff=0.7)]

    def _way_round(self, row: Clause) -> str:
        if row.kind == "phase":
            return "name it as the testcase's phase, not as a clause"
        sources = [
            f"{link.clause} ({link.confidence or 'not rated'})"
            for link in self.leading_to(row.id)
            if self.clauses[link.clause].strengths
        ]
        if sources:
            return f"the cross-walk derives it from {', '.join(dict.fromkeys(sources))}: tag that"
        return "read the document, then bring its rows in a catalogue of your own (entry point proofrig.clauses)"


_BENCH_WORDS: Mapping[Bench, str] = MappingProxyType(
    {
        "Y": "it is verified on the bench",
        "P": "a test supplies facts, a person must judge",
        "D": "it is a matter of document review",
    }
)


def _why_navigation(row: Clause) -> str:
    if row.kind == "phase":
        return "it names a life-cycle phase"
    if row.content in ("heading", "none"):
        return {"heading": "only its heading was read", "none": "its content was not seen"}[row.content]
    return "nothing of it can be tested"


_K = TypeVar("_K")
_V = TypeVar("_V")


def _grouped(pairs: Iterable[tuple[_K, _V]]) -> Mapping[_K, tuple[_V, ...]]:
    groups: dict[_K, list[_V]] = {}
    for key, value in pairs:
        groups.setdefault(key, []).append(value)
    return MappingProxyType({key: tuple(values) for key, values in groups.items()})
