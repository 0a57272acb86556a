"""The emulated pump for the tests of control."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.control.holder import Holder
from harness.control.machine import load_machine
from harness.control.qemu import QemuControl
from harness.control.template import TemplateStore

sys.path.insert(0, str(Path(__file__).parent))
from prompt_settles import PromptSettles  # noqa: E402 - found by the line above

PUMP = Path(__file__).parents[2] / ".build" / "infusion-pump" / "device.json"

Device = Callable[..., QemuControl]


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> TemplateStore:
    """Templates made by this run."""
    return TemplateStore(tmp_path_factory.mktemp("templates"))


@pytest.fixture
def device(store: TemplateStore, tmp_path: Path) -> Iterator[Device]:
    """Makes pumps, each in a private network of its own; the image must have been built before."""
    made: list[QemuControl] = []

    def make(*weaknesses: str, templates: TemplateStore = store, settles: bool = True) -> QemuControl:
        control = QemuControl(
            load_machine(PUMP, weaknesses=frozenset(weaknesses)),
            holder=Holder(),
            templates=templates,
            log=tmp_path / f"qemu-{len(made)}.log",
            settle=PromptSettles("console", b"login: ", within_s=30) if settles else None,
        )
        made.append(control)
        return control

    yield make
    for control in made:
        control.close()
        control.holder.close()
