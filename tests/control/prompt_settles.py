"""When the emulated pump of these tests is up: a prompt on a link."""

from __future__ import annotations

import select
import socket
from dataclasses import dataclass

from harness.control.base import Deadline
from harness.control.qemu import QemuControl
from harness.errors import ControlFault


@dataclass(frozen=True, slots=True)
class PromptSettles:
    """A `Settle`: the device is up when `prompt` comes on the link within `within_s` seconds of power-on."""

    link: str
    prompt: bytes
    within_s: float

    def __call__(self, control: QemuControl) -> None:
        """Raises: ControlFault with the end of what came instead."""
        deadline = Deadline(self.within_s)
        seen = b""
        with socket.socket(socket.AF_UNIX) as link:
            link.connect(control.chardev(self.link).removeprefix("unix:"))
            control.power_on()
            while self.prompt not in seen:
                if not select.select([link], [], [], deadline.left())[0] or not (data := link.recv(65536)):
                    raise ControlFault(
                        f"no {self.prompt!r} on {self.link} within {self.within_s:g} s of power-on: ...{seen[-300:]!r}"
                    )
                seen += data
