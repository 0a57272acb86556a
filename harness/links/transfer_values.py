"""What comes of a file that travels to a device or from it, by whatever protocol."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["TransferFailed"]


@dataclass(frozen=True, slots=True)
class TransferFailed:
    """A file did not arrive whole, and why.

    `refused`: the device said no in the protocol's own words. `cancelled`: it broke the transfer off without saying
    why. `silent`: it said nothing at all. `broken`: anything else; the bench gave up.
    """

    reason: str
    kind: Literal["refused", "cancelled", "silent", "broken"] = "broken"
