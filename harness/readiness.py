"""What a rig asks of the bench that no file can tell, looked at before anything starts: a person, adapters."""

from __future__ import annotations

import contextlib

from harness.control.machine import load_machine
from harness.control.operator import check_terminal
from harness.errors import BenchFault
from harness.links.usb_port import locate
from harness.rig.loading import Rig
from harness.rig.rig_file import ModbusRtuLinkSpec, OperatorControlSpec, QemuControlSpec, SerialLinkSpec

__all__ = ["check_ready"]


def check_ready(rig: Rig) -> None:
    """Find the mistakes that would make every testcase undecided; the power stays as it is.

    An adapter that is missing is none: it is a fault of the bench, which the run records. So is firmware not built.

    Raises:
        UsageError: nobody is there to be asked, an adapter cannot be told from another one or may not be used, or the
            firmware fixture has no such weakness.
    """
    control = rig.file.control
    if isinstance(control, OperatorControlSpec):
        check_terminal()
    if isinstance(control, QemuControlSpec):
        with contextlib.suppress(BenchFault):
            load_machine(rig.resolve(control.machine), weaknesses=frozenset(control.weaknesses))
    for name, spec in rig.file.links.items():
        if isinstance(spec, SerialLinkSpec | ModbusRtuLinkSpec):
            with contextlib.suppress(BenchFault):
                locate(spec.port, name=f"links.{name}")
