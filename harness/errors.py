"""The two roots of everything Proofrig raises.

    ProofrigError
    ├── UsageError            your rig, device file, testcase or command is wrong: fix it and run again
    └── BenchFault            the bench misbehaved: the device under test is not to blame, nothing is decided
        ├── LinkLost          a link went away (cable, peer, process): loss, not silence
        ├── ControlFault      power, reset or snapshot could not be carried out
        ├── BaselineLost      the device could not be brought back to its baseline
        ├── DiskFull          there is no room for the record: the run stops
        └── WrongDevice       the unit on the bench is not the one the rig file names: the run stops

What the *device* does is never an exception: it is an outcome (`harness.device.outcomes`).
"""

from __future__ import annotations

__all__ = [
    "BaselineLost",
    "BenchFault",
    "ControlFault",
    "DiskFull",
    "LinkLost",
    "ProofrigError",
    "UsageError",
    "WrongDevice",
]


class ProofrigError(Exception):
    """Common root. `hint` says what to do about it."""

    def __init__(self, message: str, *, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        text = f"{self.where}: {self.message}" if self.where else self.message
        return f"{text}\n  → {self.hint}" if self.hint else text


class UsageError(ProofrigError):
    """A mistake of the user's: `where` is the file, line and key; shown without a traceback."""


class BenchFault(ProofrigError):
    """The bench could not do its part. A testcase it hits is INCONCLUSIVE, never passed or failed."""


class LinkLost(BenchFault):
    """A link is gone: the peer closed it, the adapter vanished, the process behind it died."""


class ControlFault(BenchFault):
    """Power, reset or snapshot did not do what was asked."""


class BaselineLost(BenchFault):
    """The device could not be brought back to its verified baseline."""


class DiskFull(BenchFault):
    """There is no room for what a testcase leaves. Stops the run."""


class WrongDevice(BenchFault):
    """The unit that answers is not the one named in the rig file. Stops the run."""
