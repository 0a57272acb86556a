"""Control by commands, and the control that can do nothing."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from harness.control.base import Capability
from harness.control.command import CommandControl, Commands
from harness.control.none import NoControl
from harness.errors import ControlFault, UsageError


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


def test_no_control_refuses_everything() -> None:
    control = NoControl()
    assert control.capabilities == frozenset()
    for operation in (control.power_on, control.power_off, control.cut, control.reset, control.restore):
        with pytest.raises(ControlFault, match="no means"):
            operation()
    with pytest.raises(ControlFault, match="no means for 'storage'"):
        control.storage()
    control.close()
