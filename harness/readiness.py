"""What a rig asks of the bench, looked at before anything starts: surfaces by own Python, a person, adapters."""

from __future__ import annotations

import contextlib

from harness.control.operator import check_terminal
from harness.device.custom import check_custom
from harness.errors import BenchFault
from harness.links.usb_port import locate
from harness.rig.loading import Rig
from harness.rig.rig_file import ModbusRtuLinkSpec, OperatorControlSpec, SerialLinkSpec

__all__ = ["check_ready"]


def check_ready(rig: Rig) -> None:
    """Find the mistakes that would make every testcase undecided; the power stays as it is.

    An adapter that is missing is none: it is a fault of the bench, which the run records.

    Raises:
        UsageError: a surface's own Python is missing or of the wrong shape, nobody is there to be asked, or an adapter
            cannot be told from another one or may not be used.
    """
    check_custom(rig)
    if isinstance(rig.file.control, OperatorControlSpec):
        check_terminal()
    for name, spec in rig.file.links.items():
        if isinstance(spec, SerialLinkSpec | ModbusRtuLinkSpec):
            with contextlib.suppress(BenchFault):
                locate(spec.port, name=f"links.{name}")
