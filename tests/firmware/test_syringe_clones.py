"""The emulated syringe driver under the harness's control: clones of a saved state, weaknesses, power cuts."""

from __future__ import annotations

import select
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from syringe_device import BUILT, PATIENCE_S, frame

from harness.control.base import Deadline
from harness.control.holder import Holder
from harness.control.machine import load_machine
from harness.control.qemu import QemuControl
from harness.control.template import TemplateStore

sys.path.insert(0, str(Path(__file__).parents[1] / "control"))
from prompt_settles import PromptSettles  # noqa: E402 - found by the line above

WEAKNESSES = frozenset({"default-pin", "debug-command"})


@pytest.fixture
def control(tmp_path: Path) -> Iterator[QemuControl]:
    machine = load_machine(BUILT / "device.json", weaknesses=WEAKNESSES)
    control = QemuControl(
        machine,
        holder=Holder(),
        templates=TemplateStore(tmp_path / "templates"),
        log=tmp_path / "qemu.log",
        settle=PromptSettles("console", b"SD-200 up", within_s=PATIENCE_S),
    )
    yield control
    control.close()
    control.holder.close()


def asked(control: QemuControl, *bodies: str) -> bytes:
    """What the vendor line says until the last request is answered. Each is repeated until it is: a device that
    has just got its power may not be there yet."""
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(control.chardev("vendor").removeprefix("unix:"))
        said = b""
        for number, body in enumerate(bodies):
            deadline = Deadline(PATIENCE_S)
            end = b"<%02X " % number
            while not any(each.startswith((end + b"ok", end + b"error")) for each in said.split(b"\r\n")[:-1]):
                assert deadline.left(), said
                line.sendall(frame(f"{number:02X}", body))
                while select.select([line], [], [], 1.0)[0]:
                    said += line.recv(4096)
                    if end in said and said.endswith(b"\n"):
                        break
        return said


def test_clones_have_their_weaknesses_and_nothing_of_each_other(control: QemuControl) -> None:
    for _ in range(2):
        assert control.restore().weaknesses == WEAKNESSES
        said = asked(control, "login service 000000", "settings", "set brightness 7")
        assert b"brightness=80*" in said
        assert b"<02 ok" in said


def test_a_clone_keeps_over_a_power_cut_what_it_was_told(control: QemuControl) -> None:
    control.restore()
    assert b"<01 ok" in asked(control, "login service 000000", "set brightness 7")
    control.cut()
    control.power_on()
    assert b"brightness=7*" in asked(control, "login service 000000", "settings")
    control.power_off()
    assert b"SD2F" in control.storage().read_bytes()
