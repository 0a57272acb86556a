"""The control of a device that the bench cannot influence at all."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

from harness.control.base import Capability, ControlEvent, RestoreReport, no_capability

__all__ = ["NoControl"]


class NoControl:
    """Nothing is possible; the device is taken to have power."""

    capabilities: frozenset[Capability] = frozenset()
    events: tuple[ControlEvent, ...] = ()

    def power_on(self) -> None:
        """Raises: ControlFault, always."""
        self._refuse(Capability.POWER)

    def power_off(self) -> None:
        """Raises: ControlFault, always."""
        self._refuse(Capability.POWER)

    def cut(self) -> None:
        """Raises: ControlFault, always."""
        self._refuse(Capability.CUT)

    def reset(self) -> None:
        """Raises: ControlFault, always."""
        self._refuse(Capability.RESET)

    def send_break(self, name: str) -> None:  # noqa: ARG002
        """Refused."""
        self._refuse(Capability.BREAK)

    def restore(self) -> RestoreReport:
        """Raises: ControlFault, always."""
        self._refuse(Capability.RESTORE)

    def storage(self) -> Path:
        """Raises: ControlFault, always."""
        self._refuse(Capability.STORAGE)

    def alive(self) -> bool:
        """True: nothing says otherwise."""
        return True

    def close(self) -> None:
        """Nothing to let go of."""

    @staticmethod
    def _refuse(capability: Capability) -> NoReturn:
        raise no_capability("none", capability)
