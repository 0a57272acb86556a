"""The tree a report opens with: guideline → clause → testcase.

Allure groups by labels and combines those of two levels freely: a testcase tagged with A/1 and B/2 would stand
under "A → B/2" too. So the generator groups by guideline, and its tree is laid out anew here, in the order of the
catalogue. The shape is that of Allure 3.18, which the lock file pins.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from harness.clauses.model import Registry
from harness.report.labels import CLAUSE, clause_name, document_name

__all__ = ["arrange"]

UNTAGGED = "without a clause"


def arrange(
    tree: Mapping[str, Any], labels: Mapping[str, Iterable[Mapping[str, str]]], registry: Registry
) -> dict[str, Any]:
    """Return `tree` laid out as guideline → clause → testcase.

    Args:
        tree: Allure's own (`root`, `groupsById`, `leavesById`).
        labels: labels of each result, by the `nodeId` of its leaf.
        registry: gives names and order.
    """
    ordered = sorted(tree["leavesById"].items(), key=lambda each: str(each[1]["name"]))
    leaves = {leaf: {**data, "groupOrder": number} for number, (leaf, data) in enumerate(ordered, 1)}
    under: dict[str, list[str]] = {}
    for leaf in leaves:
        names = [each["value"] for each in labels.get(leaf, ()) if each["name"] == CLAUSE]
        for name in names or [UNTAGGED]:
            under.setdefault(name, []).append(leaf)
    groups: dict[str, dict[str, Any]] = {}
    root: list[str] = []
    for document in registry.documents.values():
        found = [clause_name(registry.clauses[key]) for _, keys in document.groups for key in keys]
        children = [_group(groups, under[name], name, document.id, leaves) for name in found if name in under]
        if children:
            inside = dict.fromkeys(leaf for child in children for leaf in groups[child]["leaves"])
            parent = _group(groups, inside, document_name(document), "", leaves)
            groups[parent] = {**groups[parent], "leaves": [], "groups": children}
            root.append(parent)
    if UNTAGGED in under:
        root.append(_group(groups, under[UNTAGGED], UNTAGGED, "", leaves))
    return {"root": {"groups": root, "leaves": []}, "groupsById": groups, "leavesById": leaves}


def _group(
    groups: dict[str, dict[str, Any]],
    inside: Iterable[str],
    name: str,
    parent: str,
    leaves: Mapping[str, Mapping[str, Any]],
) -> str:
    """Add a group that holds the leaves `inside`; return its id."""
    group_id = hashlib.md5(f"{parent}.{name}".encode(), usedforsecurity=False).hexdigest()
    statistic: dict[str, int] = {"total": 0}
    for leaf in inside:
        statistic["total"] += 1
        statistic[leaves[leaf]["status"]] = statistic.get(leaves[leaf]["status"], 0) + 1
    groups[group_id] = {"nodeId": group_id, "name": name, "statistic": statistic, "groups": [], "leaves": list(inside)}
    return group_id
