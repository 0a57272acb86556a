"""Control by a place of a labgrid coordinator: its power port, and its multiplexer for the medium.

What was switched is read back where the port can say; a medium has to be seen coming and going.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.control.base import Capability, ControlEvent, Deadline, EventKind, EventLog, Incapable, no_capability
from harness.control.labgrid_place import LabgridPlace
from harness.control.medium import MediumImage, medium_there
from harness.errors import ControlFault
from harness.rig.control_specs import LabgridControlSpec, LabgridStorage

__all__ = ["LabgridControl"]

_POLL_S = 0.1
"""No card reader announces its card to those who only look at a path."""
_TO = {
    "sd-mux": {"device": "dut", "bench": "host"},
    "usb-mux": {"device": "dut-device", "bench": "host-device"},
}
"""What `labgrid-client` calls the two sides of each multiplexer."""


class LabgridControl(Incapable):
    """Switches what belongs to a place, which it acquires and gives back when it is closed, or killed.

    `note` is told what was done: an event and its fields. `image` is what is kept of the medium, where the place has
    a multiplexer.

    Raises:
        UsageError: the coordinator has no such place.
        ControlFault: somebody has it, or the coordinator does not answer.
    """

    kind = "labgrid"

    def __init__(
        self,
        spec: LabgridControlSpec,
        *,
        place: LabgridPlace,
        note: Callable[[str, dict[str, Any]], None],
        image: MediumImage | None = None,
    ) -> None:
        self._spec = spec
        self._place = place
        self._note = note
        self._image = image
        self._events = EventLog()
        self._powered = True
        self._port = ("--name", spec.name) if spec.name is not None else ()
        version = place.version()
        place.acquire()
        self._held = True
        about = {"place": place.name, "coordinator": place.coordinator, "user": place.user, "labgrid": version}
        note("acquired", about)

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Power, cut (a port that is switched off tells the device nothing before), reset; storage by a multiplexer."""
        storage = {Capability.STORAGE} if self._spec.storage is not None else set()
        return frozenset({Capability.POWER, Capability.CUT, Capability.RESET} | storage)

    @property
    def events(self) -> tuple[ControlEvent, ...]:
        """Only what was asked: a place sees nothing of the device."""
        return self._events.all()

    def power_on(self) -> None:
        """Switch the port on; returns when it says so.

        Raises:
            ControlFault: it does not in time, or the place is not ours any more.
        """
        self._switch("on", on=True)

    def power_off(self) -> None:
        """Switch the port off; returns when it says so.

        Raises:
            ControlFault: it does not in time, or the place is not ours any more.
        """
        self._switch("off", on=False)
        self._events.add(EventKind.SHUTDOWN, asked=True, detail="power port off")

    def cut(self) -> None:
        """The same as `power_off`."""
        self.power_off()

    def reset(self) -> None:
        """Switch the port off and on again: labgrid's own reset of what has no reset line.

        Raises:
            ControlFault: the port does not say that it is on, or the place is not ours any more.
        """
        self._switch("cycle", "--delay", f"{self._spec.off_seconds:g}", on=True, longer=self._spec.off_seconds)
        self._events.add(EventKind.RESET, asked=True, detail="power port off and on")

    def storage(self) -> Path:
        """Switch the medium to this computer, read it, and switch it back.

        Raises:
            ControlFault: the device has power, or the medium does not come, cannot be read, or does not go.
        """
        spec, image = self._spec.storage, self._image
        if spec is None or image is None:
            raise no_capability(self.kind, Capability.STORAGE)
        if self.alive():
            raise ControlFault("the storage is read out of a device without power", hint="power_off first")
        # Seen to be gone first: else the path may be that of another medium, one of this computer's even.
        self._switch_medium(spec, "device", there=False)
        try:
            self._switch_medium(spec, "bench", there=True)
            return image.copy(Path(spec.path))
        finally:
            self._switch_medium(spec, "device", there=False)

    def alive(self) -> bool:
        """Whether the port is on, as it says; what was last asked of it where it cannot say.

        Raises:
            ControlFault: the place is not ours any more, or the port does not answer.
        """
        if self._spec.reads_back:
            return self._read()
        self._place.call("env")  # refused where the place is not ours, or a resource of it is gone
        return self._powered

    def close(self) -> None:
        """Give the place back; the port stays as it is, the image of the medium goes."""
        if self._image is not None:
            self._image.close()
        if not self._held:
            return
        self._held = False
        wrong = self._place.release()
        self._note("not released" if wrong else "released", {"place": self._place.name, "said": wrong})

    def _switch(self, action: str, *options: str, on: bool, longer: float = 0.0) -> None:
        began = time.monotonic()
        self._place.call("power", *self._port, *options, action, longer=longer)
        deadline = Deadline(self._spec.settle)
        while self._spec.reads_back and self._read() is not on:
            if not deadline.left():
                raise self._place.fault(
                    f"the port was told `{action}`, but {self._spec.settle:g} s later it says "
                    f"that it is {'off' if on else 'on'}"
                )
        self._powered = on
        said = {"read_back": self._spec.reads_back, "seconds": round(time.monotonic() - began, 1)}
        self._note(f"power {action}", said)

    def _read(self) -> bool:
        done = self._place.call("power", *self._port, "get")
        state = re.search(rb"(?m)^power\b.* is (on|off)\r?$", done.output)
        if state is None:
            raise self._place.fault(f"the port does not say whether it is on: {done.said}")
        return state[1] == b"on"

    def _switch_medium(self, spec: LabgridStorage, side: str, *, there: bool) -> None:
        """Switch the medium and wait until it has come, or gone."""
        name = ("--name", spec.name) if spec.name is not None else ()
        self._place.call(spec.mux, *name, _TO[spec.mux][side])
        deadline = Deadline(spec.switch_within)
        while medium_there(Path(spec.path)) is not there:
            if not deadline.left():
                raise self._place.fault(
                    f"the medium was switched to the {side}, but {spec.switch_within:g} s later there is "
                    f"{'a' if not there else 'no'} medium at {spec.path}"
                )
            threading.Event().wait(min(_POLL_S, deadline.left()))
        self._note(f"medium to the {side}", {"mux": spec.mux, "path": spec.path})
