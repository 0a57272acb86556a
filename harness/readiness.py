"""What a rig asks of the bench, looked at before anything starts: own Python, a person, a place, adapters."""

from __future__ import annotations

import contextlib

from harness.control.machine import load_machine
from harness.control.making import make_place
from harness.control.operator import check_terminal
from harness.device.custom import check_custom
from harness.errors import BenchFault
from harness.links.usb_port import locate
from harness.rig.loading import Rig
from harness.rig.rig_file import (
    LabgridControlSpec,
    ModbusRtuLinkSpec,
    OperatorControlSpec,
    QemuControlSpec,
    SerialLinkSpec,
)

__all__ = ["check_ready"]


def check_ready(rig: Rig) -> None:
    """Find the mistakes that would make every testcase undecided; the power stays as it is.

    An adapter that is missing is none, nor is a coordinator that does not answer, nor firmware that is not built: these
    are faults of the bench, which the run records.

    Raises:
        UsageError: a surface's own Python is missing or of the wrong shape, nobody is there to be asked, a shared place
            is somebody else's or not known, an adapter cannot be told from another one or may not be used, or the
            firmware fixture has no such weakness.
    """
    check_custom(rig)
    match rig.file.control:
        case OperatorControlSpec():
            check_terminal()
        case LabgridControlSpec() as place:
            with contextlib.suppress(BenchFault):
                make_place(place, rig=rig).check_free()
        case QemuControlSpec() as emulator:
            with contextlib.suppress(BenchFault):
                load_machine(rig.resolve(emulator.machine), weaknesses=frozenset(emulator.weaknesses))
    for name, spec in rig.file.links.items():
        if isinstance(spec, SerialLinkSpec | ModbusRtuLinkSpec):
            with contextlib.suppress(BenchFault):
                locate(spec.port, name=f"links.{name}")
