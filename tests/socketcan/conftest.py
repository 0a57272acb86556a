"""The guest that has CAN, built once."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # a folder of scripts, not an installed package

from guest import Guest, build, lacking  # noqa: E402


@pytest.fixture(scope="session")
def guest() -> Guest:
    """The guest, ready to boot."""
    if reason := lacking():
        pytest.skip(reason)
    return build()
