"""The emulated syringe driver for the tests of its firmware; `make firmware` must have built it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from syringe_device import MakeSyringe, Syringe  # noqa: E402 - found by the line above


@pytest.fixture
def device(tmp_path: Path) -> Iterator[MakeSyringe]:
    """Makes syringe drivers that are up, each on an EEPROM of its own."""
    with ExitStack() as made:

        def make(*weaknesses: str) -> Syringe:
            folder = tmp_path / f"device-{len(list(tmp_path.iterdir()))}"
            folder.mkdir()
            return made.enter_context(Syringe(folder, weaknesses=frozenset(weaknesses)))

        yield make


@pytest.fixture
def syringe(device: MakeSyringe) -> Syringe:
    """The hardened device, up."""
    return device()
