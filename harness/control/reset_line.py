"""The device's reset on a control line of a serial link, beside whatever switches its power."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.control.base import Capability, Control, ControlEvent, EventKind, EventLog, RestoreReport

__all__ = ["ResetByLine"]


class ResetByLine:
    """Resets by `pulse`; all else is done by `power`, the control that switches the power."""

    def __init__(self, power: Control, *, pulse: Callable[[], None]) -> None:
        self._power = power
        self._pulse = pulse
        self._events = EventLog()

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Those of `power`, and reset."""
        return self._power.capabilities | {Capability.RESET}

    @property
    def events(self) -> tuple[ControlEvent, ...]:
        """Those of `power`, and the resets, oldest first."""
        return tuple(sorted((*self._power.events, *self._events.all()), key=lambda event: event.at_ns))

    def power_on(self) -> None:
        """As `power` does it."""
        self._power.power_on()

    def power_off(self) -> None:
        """As `power` does it."""
        self._power.power_off()

    def cut(self) -> None:
        """As `power` does it."""
        self._power.cut()

    def reset(self) -> None:
        """Pulse the line."""
        self._pulse()
        self._events.add(EventKind.RESET, asked=True, detail="by a control line of a serial link")

    def send_break(self, name: str) -> None:
        """As `power` does it."""
        self._power.send_break(name)

    def restore(self) -> RestoreReport:
        """As `power` does it."""
        return self._power.restore()

    def storage(self) -> Path:
        """As `power` does it."""
        return self._power.storage()

    def alive(self) -> bool:
        """As `power` sees it."""
        return self._power.alive()

    def close(self) -> None:
        """Close `power`."""
        self._power.close()
