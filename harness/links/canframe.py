"""A CAN frame, and what carries frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

__all__ = ["CanFrame", "CanTransport"]

EXTENDED_FLAG = 0x8000_0000
REMOTE_FLAG = 0x4000_0000
ERROR_FLAG = 0x2000_0000
EXTENDED_MASK = 0x1FFF_FFFF
STANDARD_MASK = 0x7FF

TRANSIENT_SECONDS = 0.5
"""How long an adapter may report errors, or an interface be down, without a break before it counts as gone."""


@dataclass(frozen=True, slots=True)
class CanFrame:
    """One frame. A remote frame's `data` is as many zero bytes as it asks for.

    `at_ns` is when it arrived at the bench (monotonic); `stamp` when the adapter says that it was on the bus, in
    seconds of the adapter's own clock, None where it does not say.
    """

    can_id: int
    data: bytes
    extended: bool = False
    remote: bool = False
    error: bool = False
    at_ns: int = 0
    fd: bool = False
    stamp: float | None = None

    @property
    def word(self) -> int:
        """The identifier with its flags as Linux SocketCAN writes it: the channel in a capture."""
        word = self.can_id
        word |= EXTENDED_FLAG if self.extended else 0
        word |= REMOTE_FLAG if self.remote else 0
        return word | (ERROR_FLAG if self.error else 0)


class CanTransport(Protocol):
    """What carries frames. `close` must end a `read` that is under way in another thread."""

    @property
    def dropped(self) -> int | None:
        """Frames that arrived at the bench and were dropped there, unread; None where nobody counts them."""

    @property
    def notices_loss_within(self) -> float:
        """Seconds that may pass from a loss until `read` raises it."""

    def read(self, timeout: float) -> Sequence[CanFrame]:
        """Return the frames that arrive within `timeout` seconds. Raises LinkLost when the bus or adapter is gone."""

    def write(self, frame: CanFrame, timeout: float) -> None:
        """Hand over one frame. Raises LinkStalled after `timeout` seconds, LinkLost when the link is gone."""

    def close(self) -> None:
        """Close; idempotent."""
