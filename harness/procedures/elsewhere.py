"""The rest of the device in use: requests on its other links, while one surface is left alone."""

from __future__ import annotations

from itertools import cycle
from threading import Event
from time import monotonic

from harness.case import Case
from harness.device.log_in import LoggedOff, LogInSurface, Session
from harness.device.outcomes import Accepted
from harness.rig.device_file import BusCommandSurface, ModbusSurface, SurfaceSpec, UdsSurface

__all__ = ["Elsewhere"]

PACE = 0.5
"""Seconds from one request to the next, on another surface each time."""


class Elsewhere:
    """What a device has beside the link of one surface: its identity, and the buses on which nobody logs in."""

    def __init__(self, case: Case, door: LogInSurface) -> None:
        self._case = case
        device, wired = case.bench.rig.device, case.bench.rig.file.links
        own = device.surfaces[door.name].link
        others = [
            name
            for name, spec in device.surfaces.items()
            if spec.link != own and spec.link in wired and (name == device.identity or _is_bus(spec))
        ]
        self._asked = dict.fromkeys(others, 0)
        self._answered = dict.fromkeys(others, 0)
        self._turn = cycle(others)

    def go_on(self, *, until: float) -> None:
        """Ask each in turn up to the monotonic instant `until`, the last one so early that its silence is over then."""
        spare = PACE + self._case.bench.wiring.answer_within
        while (left := until - monotonic()) > 0:
            if left > spare:
                self._ask()
            Event().wait(min(left, PACE))

    def await_log_off(self, session: Session, *, timeout: float) -> LoggedOff | None:
        """Ask each in turn until the device says that it has logged a session off; None when it does not.

        When it said so is stamped as it arrives, whatever is asked meanwhile. `timeout` counts from the last input,
        which was just now.
        """
        since = monotonic()
        ended = None
        while ended is None and (passed := monotonic() - since) < timeout:
            self._ask()
            ended = session.wait_logged_off(timeout=min(passed + PACE, timeout))
        return ended

    def expect_answers(self) -> None:
        """A control: each of them has answered, else the device was not as busy as is said of it."""
        for name, asked in self._asked.items():
            answered = self._answered[name]
            self._case.check(
                f"requests on {name} meanwhile", held=answered > 0 or None, expected="answered",
                observed=f"{answered} of {asked} answered",
            )  # fmt: skip

    def _ask(self) -> None:
        name = next(self._turn, "")
        if name:
            self._asked[name] += 1
            self._answered[name] += isinstance(self._case.bench.surface(name).read("uptime"), Accepted)


def _is_bus(spec: SurfaceSpec) -> bool:
    """Whether a surface answers the uptime to everybody."""
    match spec:
        case BusCommandSurface():
            return True
        case ModbusSurface():
            return "uptime" in spec.fields
        case UdsSurface():
            return "uptime" in spec.identifiers
    return False
