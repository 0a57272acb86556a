"""The clause catalogue (one YAML a document), its registry, the cross-walk and clause coverage."""

from __future__ import annotations

from harness.clauses.registry import (
    Clause,
    Confidence,
    CrossLink,
    Document,
    Registry,
    Strength,
    Tag,
    load_registry,
)

__all__ = [
    "Clause",
    "Confidence",
    "CrossLink",
    "Document",
    "Registry",
    "Strength",
    "Tag",
    "load_registry",
]
