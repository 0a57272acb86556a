"""The control of a device that the bench cannot influence at all."""

from __future__ import annotations

from harness.control.base import Capability, ControlEvent, Incapable

__all__ = ["NoControl"]


class NoControl(Incapable):
    """Nothing is possible; the device is taken to have power."""

    capabilities: frozenset[Capability] = frozenset()
    events: tuple[ControlEvent, ...] = ()

    def alive(self) -> bool:
        """True: nothing says otherwise."""
        return True
