"""What a report says of a testcase: its title, description, labels and links, from plain facts.

The facts come from the testcase itself while it runs, or from the journal for one that never ran.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from harness.clauses.model import Clause, Confidence, CrossLink, Document, Registry, Tag
from harness.clean import show_text
from harness.report.reading import CaseRecord, RunRecord
from harness.rig.baseline import BASELINE
from harness.rig.loading import Rig
from harness.testcase import Meta

__all__ = [
    "CLAUSE",
    "CONFIDENCE",
    "GUIDELINE",
    "NODEID",
    "Claimed",
    "Facts",
    "clause_name",
    "derived_links",
    "description",
    "document_name",
    "document_status",
    "facts_of_meta",
    "facts_of_record",
    "labels",
    "links",
    "line",
    "title",
]

GUIDELINE, CLAUSE, NODEID = "guideline", "clause", "nodeid"
"""Names of the labels the report's tree is made from, and of the one that leads back to the journal."""

CONFIDENCE = {Confidence.HIGH: "high", Confidence.MEDIUM: "medium", Confidence.LOW: "low", None: "not rated"}

#: One-line labels are longer than this only by mistake or malice.
LABEL_LIMIT = 300


@dataclass(frozen=True, slots=True)
class Claimed:
    """A claim a testcase is about, and who says so."""

    id: str
    source: str = ""
    status: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of a testcase. Empty where the journal of a run that ended early has no more."""

    nodeid: str
    id: str = ""
    title: str = ""
    version: int = 0
    tags: tuple[Tag, ...] = ()
    protects: str = ""
    phase: str = ""
    method: str = ""
    threat: str = ""
    severity: str = ""
    hardware: str = ""
    unqualified: bool = False
    effects: tuple[str, ...] = ()
    claims: tuple[Claimed, ...] = ()
    requirements: tuple[str, ...] = ()
    risks: tuple[str, ...] = ()
    rig: str = ""
    grade: str = ""

    @property
    def indicative(self) -> bool:
        """Whether the result needs real hardware to be more than a hint."""
        return bool(self.hardware) and self.grade == "emulated"


def facts_of_meta(nodeid: str, meta: Meta, *, rig: Rig, claims: Iterable[str]) -> Facts:
    """Gather the facts of a testcase about to run."""
    known = {claim_id: rig.device.claims.get(claim_id) or BASELINE.get(claim_id) for claim_id in claims}
    found = [claim for claim in known.values() if claim]
    return Facts(
        nodeid=nodeid,
        id=meta.id,
        title=meta.title,
        version=meta.version,
        tags=meta.tags,
        protects=meta.about.property,
        phase=meta.about.phase,
        method=meta.about.method,
        threat=meta.about.threat,
        severity=meta.severity,
        hardware=meta.hardware,
        unqualified=meta.unqualified,
        effects=tuple(sorted(effect.value for effect in meta.effects)),
        claims=tuple(
            Claimed(claim_id, str(claim.source), claim.status.value) if claim else Claimed(claim_id)
            for claim_id, claim in known.items()
        ),
        requirements=tuple(sorted({name for claim in found for name in claim.requirements})),
        risks=tuple(sorted({name for claim in found for name in claim.risks})),
        rig=rig.file.rig,
        grade=rig.file.item.grade.value,
    )


def facts_of_record(case: CaseRecord, run: RunRecord, registry: Registry) -> Facts:
    """Gather the facts of a testcase from the journal, without clauses this catalogue does not have."""
    about = case.about
    sources = {check.claim: (check.source, check.status) for check in case.checks if check.claim}
    names = dict.fromkeys((*case.claims, *sources))
    return Facts(
        nodeid=case.nodeid,
        id=case.id,
        title=case.title,
        version=case.version,
        tags=tuple(tag for tag in case.tags if tag.clause_id in registry.clauses),
        protects=about.get("property", ""),
        phase=about.get("phase", ""),
        method=about.get("method", ""),
        threat=about.get("threat", ""),
        severity=about.get("severity", ""),
        hardware=about.get("hardware", ""),
        unqualified=about.get("unqualified", False),
        effects=tuple(about.get("effects", ())),
        claims=tuple(Claimed(name, *sources.get(name, ("", ""))) for name in names),
        requirements=case.requirements,
        risks=case.risks,
        rig=run.rig.get("rig", ""),
        grade=run.rig.get("grade", ""),
    )


@lru_cache(maxsize=4096)  # labels are the same in every testcase
def line(text: str, limit: int = LABEL_LIMIT) -> str:
    """Return `text` cleaned and on one line."""
    return " ".join(show_text(text, limit=limit).split())


def title(facts: Facts) -> str:
    """Testcase id, instance and title: what the report's tree shows."""
    if not facts.id:
        return line(facts.nodeid)
    _, bracket, instance = facts.nodeid.partition("[")
    instance = instance.removesuffix("]") if bracket else ""
    where = f" [{instance}]" if instance and instance != "not-applicable" else ""
    return line(f"{facts.id}{where}: {facts.title}")


def document_name(document: Document) -> str:
    """A guideline as the report's tree names it: id, status, title."""
    return line(f"{document.id} ({document_status(document)}) · {document.title}")


def document_status(document: Document) -> str:
    """The status of a guideline in words, with its heir."""
    heir = f"superseded by {document.superseded_by}" if document.superseded_by else ""
    words = {"in-use": "in use", "superseded": "" if heir else "superseded"}.get(document.status, document.status)
    return ", ".join(part for part in (words, heir) if part)


def clause_name(clause: Clause) -> str:
    """A clause as the report's tree names it: id, and title in English and the language of the document."""
    native = clause.title_zh or clause.title_fr
    return line(f"{clause.id} · {clause.title}" + (f" · {native}" if native else ""))


def labels(facts: Facts, registry: Registry) -> Iterator[tuple[str, str]]:
    """Yield (name, value) of every label, what is read most often first.

    A clause label names its guideline too: see `harness.report.tree`.
    """
    single = {
        "testcase": f"{facts.id} version {facts.version}" if facts.id else "",
        "item grade": facts.grade + (" (indicative: needs real hardware)" if facts.indicative else ""),
        "property": facts.protects,
        "life-cycle phase": facts.phase,
        "method": facts.method,
        "threat": facts.threat,
        "severity": facts.severity,
    }
    yield from ((name, line(value)) for name, value in single.items() if value)
    for claim in facts.claims:
        yield "claim", line(claim.id + (f" ({claim.source}; {claim.status})" if claim.source else ""))
    yield from (("requirement", line(name)) for name in facts.requirements)
    yield from (("risk", line(name)) for name in facts.risks)
    yield from (("effect", line(name)) for name in facts.effects)
    for document_id in dict.fromkeys(registry.clause(tag.clause_id).document for tag in facts.tags):
        yield GUIDELINE, document_name(registry.document(document_id))
    for tag in facts.tags:
        yield CLAUSE, clause_name(registry.clause(tag.clause_id))
    for tag in facts.tags:
        yield "strength", f"{tag.strength}: {tag.clause_id}"
    for link in derived_links(facts, registry):
        yield "derived clause", line(f"{link.target} (confidence {CONFIDENCE[link.confidence]}, from {link.clause})")
    yield "rig", line(facts.rig)
    yield NODEID, line(facts.nodeid)
    if facts.unqualified:
        yield "tag", "unqualified"
    if facts.indicative:
        yield "tag", "indicative"


def links(facts: Facts, registry: Registry) -> Iterator[tuple[str, str]]:
    """Yield (URL, name) of the sources the guidelines were read from."""
    for document_id in dict.fromkeys(registry.clause(tag.clause_id).document for tag in facts.tags):
        for key in registry.document(document_id).provenance:
            source = registry.provenance[key]
            for url in source.urls[:1]:
                yield url, line(f"{document_id}: {source.what}", 120)


def description(facts: Facts, registry: Registry) -> str:
    """Say in Markdown what the testcase shows, for whom, and on whose word."""
    return "\n\n".join(part for part in (_clauses(facts, registry), _claims(facts), _caveats(facts)) if part)


def _clauses(facts: Facts, registry: Registry) -> str:
    if not facts.tags:
        return ""
    out = ["**Clauses**", ""]
    for tag in facts.tags:
        clause = registry.clause(tag.clause_id)
        text = f": {clause.paraphrase}" if clause.paraphrase else ""
        out.append(f"- {_md(clause_name(clause))} — *{tag.strength}*{_md(text)}")
    groups: dict[str, list[str]] = {}
    for link in derived_links(facts, registry):
        groups.setdefault(CONFIDENCE[link.confidence], []).append(f"{link.target} (from {link.clause})")
    for confidence in CONFIDENCE.values():
        if targets := groups.get(confidence):
            out.append(f"- *derived* through the cross-walk, confidence {confidence}: {_md(', '.join(targets))}")
    documents = dict.fromkeys(registry.clause(tag.clause_id).document for tag in facts.tags)
    ours = [name for name in documents if registry.document(name).numbering == "proofrig"]
    if ours:
        out += ["", f"{_md(', '.join(ours))}: identifiers assigned by Proofrig."]
    return "\n".join(out)


def _claims(facts: Facts) -> str:
    if not facts.claims:
        return ""
    out = ["**Claims**", ""]
    for claim in facts.claims:
        out.append(f"- {_md(claim.id)}" + (f" — {_md(claim.source)} ({claim.status})" if claim.source else ""))
    return "\n".join(out)


def _caveats(facts: Facts) -> str:
    out = []
    if facts.indicative:
        out.append(f"On an emulated item this result is **indicative** only: {_md(facts.hardware)}.")
    if facts.unqualified:
        out.append("**Unqualified**: no fixture weakness exists yet that this testcase is known to catch.")
    return "\n\n".join(out)


def derived_links(facts: Facts, registry: Registry) -> Iterator[CrossLink]:
    """The surest link to each clause the cross-walk leads to and the testcase is not tagged with."""
    own = {tag.clause_id for tag in facts.tags}
    rank = [Confidence.HIGH, Confidence.MEDIUM, Confidence.LOW, None]
    best: dict[str, CrossLink] = {}
    for tag in facts.tags:
        for link in registry.derived(tag.clause_id, method=facts.method or None):
            if not link.catalogued or link.target in own or registry.clause(link.target).kind == "phase":
                continue
            known = best.get(link.target)
            if known is None or rank.index(link.confidence) < rank.index(known.confidence):
                best[link.target] = link
    yield from best.values()


_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>#+|~!-])")


def _md(text: str) -> str:
    return _MARKDOWN.sub(r"\\\1", " ".join(show_text(text, limit=1000).split()))
