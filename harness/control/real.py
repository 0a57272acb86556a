"""The control of a real bench, made as its rig file says."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from harness.control.base import Control
from harness.control.command import CommandControl, Commands
from harness.control.none import NoControl
from harness.control.operator import OperatorControl
from harness.control.reset_line import ResetByLine
from harness.journal import Journal
from harness.rig import control_specs as spec_of
from harness.rig.loading import Rig

__all__ = ["RealSpec", "make_real_control"]

RealSpec = spec_of.CommandControl | spec_of.ScpiControlSpec | spec_of.OperatorControlSpec | spec_of.NoControl


def make_real_control(spec: RealSpec, *, rig: Rig, journal: Journal, pulse: Callable[[], None]) -> Control:
    """Make the control; the device stays as it is. What supplies measure and people say goes to the journal.

    `pulse` pulses the reset line of the rig file, if it has one.

    Raises:
        UsageError: a command is not there, or nobody is there to be asked.
    """
    power = _make_power(spec, rig=rig, note=partial(_note, journal, spec.type))
    if (line := rig.file.reset_line) is None:
        return power

    def reset() -> None:
        pulse()
        _note(journal, "reset line", "reset", line.model_dump(mode="json"))

    return ResetByLine(power, pulse=reset)


def _make_power(spec: RealSpec, *, rig: Rig, note: Callable[[str, dict[str, Any]], None]) -> Control:
    match spec:
        case spec_of.CommandControl():
            on, off, reset = spec.power_on, spec.power_off, spec.reset or None
            return CommandControl(Commands(power_on=on, power_off=off, reset=reset, timeout_s=spec.timeout))
        case spec_of.ScpiControlSpec():
            from harness.control.scpi import ScpiControl  # noqa: PLC0415  (only rigs with a supply need pyvisa)

            return ScpiControl(spec, note=note)
        case spec_of.OperatorControlSpec():
            unit = f"{rig.device.model} {rig.file.item.serial} on rig {rig.file.rig}"
            return OperatorControl(spec, unit=unit, note=note)
        case spec_of.NoControl():
            return NoControl()


def _note(journal: Journal, source: str, event: str, details: dict[str, Any]) -> None:
    journal.write("event", source=source, event=event, asked=True, **details)
