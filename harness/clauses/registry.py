"""The registry from its files: find them, read them, join them, refuse what does not fit.

`load_registry()` is the way in; the types and the rules of tagging are in `harness.clauses.model`.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata, resources
from types import MappingProxyType, ModuleType

from harness.clauses.catalogue_model import (
    ClauseRow,
    CrosswalkFile,
    DocumentFile,
    LinkRow,
    ProvenanceFile,
    parse,
)
from harness.clauses.model import (
    Clause,
    Confidence,
    CrossLink,
    Document,
    Provenance,
    Registry,
    Strength,
    Tag,
    Withheld,
)
from harness.errors import UsageError

__all__ = [
    "ENTRY_POINT_GROUP",
    "Clause",
    "Confidence",
    "CrossLink",
    "Document",
    "Registry",
    "Strength",
    "Tag",
    "assemble",
    "catalogue_files",
    "load_registry",
]

ENTRY_POINT_GROUP = "proofrig.clauses"
"""An entry point of this group names a package whose `*.yaml` files are added to the catalogue."""


@functools.cache
def load_registry() -> Registry:
    """The built-in catalogue and those of installed packages (entry-point group `proofrig.clauses`).

    Raises:
        UsageError: a catalogue file is wrong; `where` gives file, line and key.
    """
    return assemble(catalogue_files())


def catalogue_files() -> dict[str, str]:
    """Name and text of every catalogue file: built-in ones first, then `ENTRY-POINT:FILE` by name.

    Raises:
        UsageError: an entry point cannot be imported or is no package.
    """
    files = dict(_yaml_of("harness.clauses.catalogue", prefix=""))
    for entry in sorted(metadata.entry_points(group=ENTRY_POINT_GROUP), key=lambda entry: entry.name):
        where = f"entry point {ENTRY_POINT_GROUP}: {entry.name} = {entry.value}"
        try:
            package = entry.load()
        except (ImportError, AttributeError) as error:
            raise UsageError(f"cannot be imported: {error}", where=where) from error
        if not isinstance(package, ModuleType) or not hasattr(package, "__path__"):
            raise UsageError("is not a package", where=where, hint="name a package that holds *.yaml files")
        files.update(_yaml_of(package, prefix=f"{entry.name}:"))
    return files


def _yaml_of(package: str | ModuleType, *, prefix: str) -> Iterator[tuple[str, str]]:
    for file in sorted(resources.files(package).iterdir(), key=lambda file: file.name):
        if file.name.endswith(".yaml"):
            yield prefix + file.name, file.read_text(encoding="utf-8")


def assemble(files: Mapping[str, str]) -> Registry:
    """Join catalogue files (name to text) into a registry.

    Raises:
        UsageError: a file is malformed, an id stands twice, or a reference leads nowhere.
    """
    documents: dict[str, tuple[str, DocumentFile]] = {}
    sources: dict[str, Provenance] = {}
    walks: list[tuple[str, CrosswalkFile]] = []
    for name, text in files.items():
        match name.rpartition(":")[2]:
            case "provenance.yaml":
                _add_sources(sources, parse(ProvenanceFile, text, name=name), name=name)
            case "crosswalk.yaml":
                walks.append((name, parse(CrosswalkFile, text, name=name)))
            case _:
                file = parse(DocumentFile, text, name=name)
                if (known := documents.get(file.document.id)) and not file.document.replaces:
                    raise UsageError(
                        f"document {file.document.id} is already in {known[0]}",
                        where=name,
                        hint="write `replaces: true` in its header to stand in for it",
                    )
                documents[file.document.id] = (name, file)
    clauses = _clauses(documents)
    registry = Registry(
        version=_version(files),
        documents=MappingProxyType({key: _document(file) for key, (_, file) in documents.items()}),
        clauses=MappingProxyType(clauses),
        provenance=MappingProxyType(sources),
        links=tuple(link for name, walk in walks for link in _links(walk, clauses, name=name)),
        withheld=tuple(
            Withheld(pattern=re.compile(row.pattern), reason=row.reason)
            for _, file in documents.values()
            for row in file.withheld
        ),
    )
    _check_references(registry, documents)
    return registry


def _version(files: Mapping[str, str]) -> str:
    digest = hashlib.sha256()
    for name, text in sorted(files.items()):
        for part in (name, text):
            data = part.encode()
            digest.update(len(data).to_bytes(8, "big") + data)
    return f"sha256:{digest.hexdigest()}"


def _add_sources(sources: dict[str, Provenance], file: ProvenanceFile, *, name: str) -> None:
    for row in file.provenance:
        if row.key in sources:
            raise UsageError(f"provenance key {row.key} stands twice", where=name)
        sources[row.key] = Provenance(
            key=row.key, what=row.what, quality=row.quality, urls=tuple(row.urls), sha256=row.sha256
        )


def _document(file: DocumentFile) -> Document:
    head = file.document
    return Document(
        id=head.id,
        title=head.title,
        native_title=head.native_title,
        issuer=head.issuer,
        status=head.status,
        superseded_by=head.superseded_by,
        numbering=head.numbering,
        provenance=tuple(head.provenance),
        note=head.note,
        groups=tuple((group.name, tuple(row.id for row in group.clauses)) for group in file.groups),
    )


def _clauses(documents: Mapping[str, tuple[str, DocumentFile]]) -> dict[str, Clause]:
    clauses: dict[str, Clause] = {}
    for name, file in documents.values():
        for group in file.groups:
            for row in group.clauses:
                if row.id in clauses:
                    raise UsageError(f"clause {row.id} stands twice", where=name)
                clauses[row.id] = _clause(row, document=file.document.id, group=group.name)
    return clauses


def _clause(row: ClauseRow, *, document: str, group: str) -> Clause:
    return Clause(
        id=row.id,
        document=document,
        group=group,
        title=row.title.en,
        title_zh=row.title.zh,
        title_fr=row.title.fr,
        paraphrase=row.paraphrase,
        place=row.place,
        kind=row.kind,
        bench=row.bench,
        bench_note=row.bench_note,
        test=row.test,
        content=row.content,
        source=row.source,
        certainty=row.certainty,
        level=row.level,
        provenance=tuple(row.provenance),
        successor=row.successor,
        note=row.note,
    )


def _links(walk: CrosswalkFile, clauses: Mapping[str, Clause], *, name: str) -> Iterator[CrossLink]:
    for capability in walk.capabilities:
        _must_resolve([capability.clause], clauses, name=name)
        for row in capability.links:
            yield from _links_of(capability.clause, row, clauses, name=name)
    for group in walk.methods:
        _must_resolve(group.members, clauses, name=name)
        for clause in group.members:
            for target in group.members:
                if target != clause:
                    yield CrossLink(
                        clause=clause,
                        target=target,
                        confidence=Confidence(group.confidence),
                        method=group.method,
                    )


def _links_of(clause: str, row: LinkRow, clauses: Mapping[str, Clause], *, name: str) -> Iterator[CrossLink]:
    confidence = Confidence(row.confidence) if row.confidence else None
    for target in row.to:
        if target.catalogued:
            _must_resolve([target.id], clauses, name=name)
        elif target.id in clauses:
            raise UsageError(f"{target.id} is in the catalogue: drop `catalogued: false`", where=name)
        yield CrossLink(
            clause=clause,
            target=target.id,
            confidence=confidence,
            part=target.part,
            catalogued=target.catalogued,
        )
        if row.both_ways and target.catalogued:
            yield CrossLink(clause=target.id, target=clause, confidence=confidence)


def _must_resolve(ids: Iterable[str], clauses: Mapping[str, Clause], *, name: str) -> None:
    for clause_id in ids:
        if clause_id not in clauses:
            raise UsageError(
                f"{clause_id} is in no catalogue file",
                where=name,
                hint="correct the id, or mark the target `catalogued: false`",
            )


def _check_references(registry: Registry, documents: Mapping[str, tuple[str, DocumentFile]]) -> None:
    """Provenance keys, successors and heirs of documents lead somewhere."""
    for name, file in documents.values():
        heir = file.document.superseded_by
        if heir and heir not in registry.documents:
            raise UsageError(f"superseded_by names unknown document {heir}", where=name)
        keys = [(file.document.id, key) for key in file.document.provenance]
        for row in file.rows():
            keys += [(row.id, key) for key in row.provenance]
            if row.successor and row.successor not in registry.clauses:
                raise UsageError(f"{row.id}: successor {row.successor} is in no catalogue file", where=name)
        for owner, key in keys:
            if key not in registry.provenance:
                raise UsageError(f"{owner}: unknown provenance key {key}", where=name, hint="add it to provenance.yaml")
