"""The clause catalogue as a page of the documentation: every clause, how it was read, and the testcases tagged with it.

Markdown, made from the catalogue and the testcases when the documentation is built; it says nothing of any run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from harness.clauses.coverage import CheckCounts, ClauseCoverage, ClauseResult, DocumentCoverage, TaggedResult, cover
from harness.clauses.model import Clause, Document, Registry, Strength
from harness.report.labels import CONFIDENCE, document_status
from harness.testcase import Meta

__all__ = ["CataloguedTestcase", "anchor", "catalogue_page"]

_INTRODUCTION = """\
# Clause catalogue

Every clause of the catalogue (`harness/clauses/catalogue/`), and the testcases that carry it. This page is made when
the documentation is built. It says what testcases are *meant for*; what a run showed is in the clause coverage page of
that run. How to read both: [For regulatory staff](for-regulatory-staff.md).

* **clause**: its id, and its place in the document where one is known.
* **what it says**: title, a paraphrase (never the text of a standard), and remarks.
* **read**: in **full**, in **summary**, its **heading** only, or **none** of it; in an **official** text, a **mirror**
  of it or a **secondary** source; then the keys of the [sources](#sources).
* **strength**: the strongest tag that this reading allows: verifies, contributes or review. *Navigation only*: no
  testcase may be tagged with it.
* **testcases**: those tagged with it, by strength. *Derived*: brought here by the cross-walk alone, with its confidence
  and the clauses it comes from.
"""


@dataclass(frozen=True, slots=True)
class CataloguedTestcase:
    """A testcase and its file, relative to the root of the repository."""

    meta: Meta
    file: str


def catalogue_page(registry: Registry, testcases: Iterable[CataloguedTestcase]) -> str:
    """Lay out the catalogue as Markdown: documents, their clauses, testcases, sources.

    Raises:
        UsageError: a testcase is tagged with a clause that the catalogue does not have.
    """
    known = sorted(testcases, key=lambda each: each.meta.id)
    documents = cover(registry, (_untried(each.meta) for each in known))
    return "\n".join(
        [
            _INTRODUCTION,
            *_overview(documents),
            *(line for each in documents for line in _document(each)),
            *_testcases(known),
            *_sources(registry),
            "",
        ]
    )


def anchor(name: str) -> str:
    """The fragment id of a clause, testcase or source on the page."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower())


def _untried(meta: Meta) -> TaggedResult:
    """A testcase that nobody has run: only its tags, and the method that selects links of the cross-walk, matter."""
    return TaggedResult(
        nodeid=meta.id,
        title=meta.title,
        verdict="NOT RUN",
        checks=CheckCounts(),
        tags=meta.tags,
        method=meta.about.method,
    )


def _overview(documents: Sequence[DocumentCoverage]) -> Iterator[str]:
    yield "## Documents\n"
    yield "| document | status | clauses | may be tagged | tagged | derived only |"
    yield "|---|---|---|---|---|---|"
    for each in documents:
        states = [row.state for row in each.clauses]
        taggable = sum(bool(row.clause.strengths) for row in each.clauses)
        name = f"{_document_link(each.document)}<br>{_text(each.document.title)}"
        counts = f"{len(states)} | {taggable} | {states.count('direct')} | {states.count('derived')}"
        yield f"| {name} | {_text(document_status(each.document))} | {counts} |"


def _document(coverage: DocumentCoverage) -> Iterator[str]:
    document = coverage.document
    yield f"\n## {_text(document.id)}\n"
    title = _text(document.title) + (f" · {_text(document.native_title)}" if document.native_title else "")
    facts = [_text(document_status(document)), _text(document.issuer), document.numbering_note]
    yield f"**{title}**\n"
    yield f"Status: {'. '.join(fact for fact in facts if fact)}. {_text(document.note)}\n"
    if document.provenance:
        yield f"Sources: {_source_links(document.provenance)}\n"
    for name, rows in coverage.groups:
        yield f"\n### {_text(name)}\n"
        yield "| clause | what it says | read | strength | testcases |"
        yield "|---|---|---|---|---|"
        for row in rows:
            yield _clause_row(row)


def _clause_row(row: ClauseCoverage) -> str:
    clause = row.clause
    place = f"<br>{_text(clause.place)}" if clause.place else ""
    cells = (
        f'<span id="{anchor(clause.id)}"></span>`{clause.id}`{place}',
        _says(row),
        f"{clause.content}, {clause.source}<br>{_source_links(clause.provenance)}",
        clause.strengths[0]
        if clause.strengths
        else "*life-cycle phase*"
        if clause.kind == "phase"
        else "*navigation only*",
        "<br>".join((*_direct(row.results), *_derived(row.results))) or "none",
    )
    return f"| {' | '.join(cells)} |"


def _strength(clause: Clause) -> str:
    if clause.strengths:
        return clause.strengths[0]
    return "*life-cycle phase*" if clause.kind == "phase" else "*navigation only*"


def _says(row: ClauseCoverage) -> str:
    clause = row.clause
    native = clause.title_zh or clause.title_fr
    parts = [f"**{_text(clause.title)}**" + (f" · {_text(native)}" if native else ""), _text(clause.paraphrase)]
    if clause.note:
        parts.append(f"*{_text(clause.note)}*")
    if clause.certainty in ("medium", "low"):
        parts.append(f"*Certainty of this reading: {clause.certainty}.*")
    if row.successor:
        parts.append(f"Successor: {_clause_link(row.successor)}")
    if row.predecessors:
        parts.append(f"Takes the place of {', '.join(_clause_link(each) for each in row.predecessors)}")
    return "<br>".join(part for part in parts if part)


def _direct(results: Sequence[ClauseResult]) -> Iterator[str]:
    for strength in Strength:
        names = [each.nodeid for each in results if not each.derived and each.strength is strength]
        if names:
            yield f"**{strength}**: {', '.join(_testcase_link(name) for name in names)}"


def _derived(results: Sequence[ClauseResult]) -> Iterator[str]:
    for confidence, word in CONFIDENCE.items():
        found = [each for each in results if each.derived and each.confidence is confidence]
        if found:
            origins = sorted({clause_id for each in found for clause_id in each.via})
            number = f"{len(found)} testcase{'' if len(found) == 1 else 's'}"
            yield f"*derived*, confidence {word}: {number}, from {', '.join(f'`{each}`' for each in origins)}"


def _testcases(testcases: Sequence[CataloguedTestcase]) -> Iterator[str]:
    yield "\n## Testcases\n"
    yield "| testcase | title | protects | method | file |"
    yield "|---|---|---|---|---|"
    for each in testcases:
        meta = each.meta
        remarks = [f"Indicative on an emulated item: {_text(meta.hardware)}."] if meta.hardware else []
        remarks += ["Unqualified: no weakness is known that it catches."] if meta.unqualified else []
        cells = (
            f'<span id="testcase-{anchor(meta.id)}"></span>`{meta.id}`',
            "<br>".join((_text(meta.title), *(f"*{remark}*" for remark in remarks))),
            meta.about.property,
            _text(meta.about.method),
            f"[{each.file.removeprefix('testcases/')}](../{each.file})",
        )
        yield f"| {' | '.join(cells)} |"


def _sources(registry: Registry) -> Iterator[str]:
    yield "\n## Sources\n"
    yield "Where the statements of the catalogue come from, and how far each source carries.\n"
    yield "| key | what | how far it carries | address |"
    yield "|---|---|---|---|"
    for source in registry.provenance.values():
        addresses = "<br>".join(f"<{url}>" for url in source.urls)
        name = f'<span id="source-{anchor(source.key)}"></span>{source.key}'
        yield f"| {name} | {_text(source.what)} | {_text(source.quality)} | {addresses} |"


def _document_link(document: Document) -> str:
    return f"[{document.id}](#{re.sub(r'[^a-z0-9_-]', '', document.id.lower())})"


def _clause_link(clause: Clause) -> str:
    return f"[`{clause.id}`](#{anchor(clause.id)})"


def _testcase_link(testcase_id: str) -> str:
    return f"[`{testcase_id}`](#testcase-{anchor(testcase_id)})"


def _source_links(keys: Iterable[str]) -> str:
    return ", ".join(f"[{key}](#source-{anchor(key)})" for key in keys)


_MARKDOWN = re.compile(r"[\\`*_\[\]|<>&#~]")


def _text(text: str) -> str:
    """`text` on one line, with nothing in it that Markdown or HTML would take for its own."""
    return _MARKDOWN.sub(lambda found: f"&#{ord(found[0])};", " ".join(text.split()))
