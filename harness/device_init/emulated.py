"""Firmware of a device that is emulated, booted for the scan in a private network, as a run boots it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from harness.capture import CaptureFile
from harness.control.holder import Holder
from harness.control.machine import load_machine
from harness.control.qemu import QemuControl
from harness.control.template import TemplateStore
from harness.errors import ControlFault, UsageError
from harness.links.serial import open_serial
from harness.rig.machine_file import Ready, load_machine_file

__all__ = ["booted", "ready_of"]

_CONSOLE = "console"
_ANY_SPEED = 115200
"""An emulator's serial line has none."""


def ready_of(machine: Path) -> Ready:
    """Return how the device says that it is up.

    Raises:
        ControlFault: the description is not there.
        UsageError: it is of another make, or does not say.
    """
    ready = load_machine_file(machine).ready
    if ready is None:
        raise UsageError(
            "nothing says when the device is up", where=f"{machine}: ready", hint='add "ready": {"console": "login: "}'
        )
    return ready


@contextmanager
def booted(machine: Path, record: Path) -> Iterator[QemuControl]:
    """Boot the device cold on a disk of its own, yield it when it is up, and end it.

    What it printed until then is captured in the folder `record`, with what the emulator said.

    Raises:
        ControlFault: the emulator or an image is not there, or the device does not come up.
        UsageError: the description is of another make.
    """
    ready = ready_of(machine)
    with ExitStack() as undo:
        holder = undo.enter_context(Holder())
        templates = TemplateStore(machine.parent / "templates")
        control = QemuControl(load_machine(machine), holder=holder, templates=templates, log=record / "device.log")
        undo.callback(control.close)
        control.prepare()
        tap = undo.enter_context(closing(CaptureFile(record / "boot.cap")))
        stream = open_serial(control.chardev(_CONSOLE), baudrate=_ANY_SPEED, name=_CONSOLE, tap=tap)
        with closing(stream):
            control.power_on()
            if stream.expect(ready.console.encode(), since=0, timeout=ready.within_s) is None:
                raise ControlFault(
                    f"the device is not up {ready.within_s:g} s after power-on",
                    hint=f"nothing on the console was {ready.console!r}; see {record / 'boot.cap'}",
                )
        yield control
