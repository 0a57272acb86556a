"""A pytest plugin for trials: leaves out long testcases, and slow ones but those in `DECLARED`, as `ID[instance]`s.

While collecting only, it prints a line for every testcase: `testcase NAME`, and after it what it is marked as.
"""

from __future__ import annotations

import os

import pytest

from harness.testcase import meta_of


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep what is quick or declared."""
    declared = os.environ["DECLARED"].split()
    kept, left = [], []
    for item in items:
        meta = meta_of(item)
        keep = meta and not meta.long and (not meta.slow or label_of(item) in declared)
        (kept if keep or config.option.collectonly else left).append(item)
    items[:] = kept
    config.hook.pytest_deselected(items=left)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Print names and marks."""
    if session.config.option.collectonly:
        for item in session.items:
            marks = [mark for mark in ("long", "unqualified") if item.get_closest_marker(mark)]
            session.config.get_terminal_writer().line(" ".join(["testcase", label_of(item), *marks]))


def label_of(item: pytest.Item) -> str:
    """Return the name of a testcase as weaknesses declare it."""
    meta = meta_of(item)
    return f"{meta.id}[{item.name.partition('[')[2]}" if meta else ""
