"""Control by commands, and the control that can do nothing."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.control.base import Capability
from harness.control.command import CommandControl, Commands
from harness.control.medium import MediumImage
from harness.control.none import NoControl
from harness.errors import ControlFault, UsageError
from harness.rig.control_specs import StorageLimits


def relay(folder: Path) -> Commands:
    """A power relay whose state is a file."""
    state = folder / "power"
    return Commands(
        power_on=("touch", str(state)),
        power_off=("rm", str(state)),
        status=("test", "-e", str(state)),
    )


def test_operations_run_their_commands(tmp_path: Path) -> None:
    control = CommandControl(relay(tmp_path))
    assert control.capabilities == {Capability.POWER}
    assert not control.alive()
    control.power_on()
    assert control.alive()
    control.power_off()
    assert not control.alive()
    with pytest.raises(ControlFault, match=r"ended with 1: .*No such file"):
        control.power_off()
    with pytest.raises(ControlFault, match="no means for 'reset'"):
        control.reset()


def test_a_hanging_command_is_killed_with_its_children(tmp_path: Path) -> None:
    children = tmp_path / "pid"
    command = ("sh", "-c", f"sleep 60 & echo $! > {children}; wait")
    control = CommandControl(Commands(reset=command, timeout_s=0.5))
    begin = time.monotonic()
    with pytest.raises(ControlFault, match=r"did not end within 0.5 s"):
        control.reset()
    assert time.monotonic() - begin < 5
    grandchild = Path(f"/proc/{children.read_text().strip()}/stat")
    deadline = time.monotonic() + 5
    while _running(grandchild):
        assert time.monotonic() < deadline, "the grandchild is still running"
        threading.Event().wait(0.01)


def _running(stat: Path) -> bool:
    try:
        return ") Z " not in stat.read_text()
    except OSError:
        return False


def test_mistakes_are_named_at_once() -> None:
    with pytest.raises(UsageError, match="no-such-relay"):
        CommandControl(Commands(reset=("no-such-relay",)))
    with pytest.raises(UsageError, match="belong together"):
        CommandControl(Commands(power_on=("true",)))


Reader = Callable[..., tuple[CommandControl, list[dict[str, Any]]]]


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    """Makes a control whose device has no power, with a shell command for the storage; and what was noted."""

    def make(
        script: str, *, most_bytes: int = 4 * 2**20, seconds: float = 30
    ) -> tuple[CommandControl, list[dict[str, Any]]]:
        notes: list[dict[str, Any]] = []
        limits = StorageLimits(most_bytes=most_bytes)
        image = MediumImage(tmp_path / "storage", limits=limits, note=lambda _, data: notes.append(data))
        argv = ("sh", "-c", script, "sh", "{image}")
        power = {"power_on": ("true",), "power_off": ("true",)}
        control = CommandControl(Commands(**power, storage=argv, storage_s=seconds), image=image)
        assert control.capabilities == {Capability.POWER, Capability.STORAGE}
        with pytest.raises(ControlFault, match="without power"):
            control.storage()
        control.power_off()
        return control, notes

    return make


def test_a_command_leaves_the_image_of_the_media(reader: Reader, tmp_path: Path) -> None:
    control, notes = reader('printf "of the card" > "$1"')
    for _ in range(2):  # the one before is gone
        image = control.storage()
        assert image.read_bytes() == b"of the card"
        assert image.parent.stat().st_mode & 0o777 == 0o700
    assert notes[1] == {"medium": "command", "bytes": 11, "sha256": hashlib.sha256(b"of the card").hexdigest()}
    control.close()
    assert not (tmp_path / "storage").exists()


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("true", "left no image"),
        ('mkdir "$1"', "left no image"),
        ('ln -s /etc/passwd "$1"', "left no image"),
        ('touch "$1"', "left 0 bytes"),
        ('printf x > "$1"; echo no card; exit 3', "ended with 3: no card"),
        ('head -c 5M /dev/zero > "$1"', "ended with"),
        ('truncate -s 5M "$1"', "ended with"),
        ("sleep 60", "did not end within 1 s"),
    ],
)
def test_a_command_that_leaves_no_image_is_a_fault(reader: Reader, script: str, says: str) -> None:
    control, notes = reader(script, seconds=1)
    with pytest.raises(ControlFault, match=says):
        control.storage()
    assert notes == []


def test_no_control_refuses_everything() -> None:
    control = NoControl()
    assert control.capabilities == frozenset()
    for operation in (control.power_on, control.power_off, control.cut, control.reset, control.restore):
        with pytest.raises(ControlFault, match="no means"):
            operation()
    with pytest.raises(ControlFault, match="no means for 'storage'"):
        control.storage()
    control.close()
