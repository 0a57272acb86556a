"""A pytest plugin for trials: leaves out all testcases but those named in `ONLY`, as `ID[instance]`s."""

from __future__ import annotations

import os

import pytest

from harness.testcase import meta_of


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep what is named."""
    named = os.environ["ONLY"].split()
    kept, left = [], []
    for item in items:
        meta = meta_of(item)
        label = f"{meta.id}[{item.name.partition('[')[2]}" if meta else ""
        (kept if label in named else left).append(item)
    items[:] = kept
    config.hook.pytest_deselected(items=left)
