"""What every link shares: one reader thread, subscribers, and silence told from loss.

LinkLost              the link is gone; raised to every waiter, now and later
└── PeerClosed        the peer ended the connection in order or by reset (a device may do so on purpose)
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from harness.errors import BenchFault, LinkLost

__all__ = ["Deadline", "LinkStalled", "PeerClosed", "ReadingLink"]

Item = TypeVar("Item")
Found = TypeVar("Found")

POLL_SECONDS = 0.25
"""Longest time a reader spends in one read; bounds how late a loss or a close is noticed."""


class PeerClosed(LinkLost):
    """The peer closed or reset the connection. Where the peer is the device, this may be its answer."""


class LinkStalled(BenchFault):
    """The link did not take all bytes within the deadline: flow control, a full buffer, a stopped peer."""


class Deadline:
    """A point in monotonic time, `timeout` seconds from now."""

    def __init__(self, timeout: float) -> None:
        self._at = time.monotonic() + timeout

    @property
    def remaining(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self._at - time.monotonic())

    @property
    def passed(self) -> bool:
        """Whether no time is left."""
        return time.monotonic() >= self._at


class ReadingLink(ABC, Generic[Item]):
    """A link with exactly one reader thread, which stamps and records what arrives whether or not anyone waits.

    Subclasses say how to read (`_receive`), what to remember (`_keep`) and what to close (`_shut`).
    """

    def __init__(self, name: str, *, notices_loss_within: float = 0.0) -> None:
        self.name = name
        self.notices_loss_within = notices_loss_within
        """Seconds that may pass from a loss until it is noticed; 0 where the system tells it at once."""
        self._changed = threading.Condition()
        self._subscribers: dict[int, Callable[[Item], None]] = {}
        self._next_subscriber = 0
        self._lost: LinkLost | None = None
        self._lost_ns: int | None = None
        self._closing = threading.Event()
        self._last_rx_ns: int | None = None
        self._thread = threading.Thread(target=self._run, name=f"link {name}", daemon=True)

    @property
    def lost(self) -> LinkLost | None:
        """Why the link is gone, or None while it is up."""
        return self._lost

    @property
    def lost_ns(self) -> int | None:
        """`time.monotonic_ns()` when the loss was noticed, None while the link is up."""
        return self._lost_ns

    def wait_lost(self, timeout: float) -> LinkLost | None:
        """Wait at most `timeout` seconds for a loss; return why, None while the link is up. Never raises."""
        with self._changed:
            self._changed.wait_for(lambda: self._lost is not None, timeout)
            return self._lost

    @property
    def last_rx_ns(self) -> int | None:
        """`time.monotonic_ns()` of the last arrival, None before the first."""
        return self._last_rx_ns

    def close(self) -> None:
        """Close the link and join its reader; waiters get `LinkLost`. Closing twice does nothing."""
        self._closing.set()
        self._lose(LinkLost(f"{self.name} was closed by the bench"))
        self._shut()
        if self._thread is not threading.current_thread():
            self._thread.join()

    @abstractmethod
    def _receive(self) -> Sequence[Item]:
        """Wait at most `POLL_SECONDS` for arrivals; stamp and record them.

        Raises:
            LinkLost: the link is gone.
        """

    @abstractmethod
    def _keep(self, item: Item) -> int:
        """Remember `item` (called with the lock held) and return its time stamp."""

    @abstractmethod
    def _shut(self) -> None:
        """Close what is below; must end a `_receive` that is under way, and be idempotent."""

    def _start(self) -> None:
        self._thread.start()

    def _attach(self, callback: Callable[[Item], None]) -> Callable[[], None]:
        """Call `callback` from the reader thread with every arrival until the returned function is called."""
        with self._changed:
            key = self._next_subscriber
            self._next_subscriber += 1
            self._subscribers[key] = callback

        def detach() -> None:
            with self._changed:
                self._subscribers.pop(key, None)

        return detach

    def _wait(self, found: Callable[[], Found | None], timeout: float) -> Found | None:
        """Evaluate `found` (lock held) on every change until it is not None or `timeout` seconds passed.

        Raises:
            LinkLost: the link is gone and `found` has nothing.
        """
        deadline = Deadline(timeout)
        with self._changed:
            while True:
                result = found()
                if result is not None:
                    return result
                self._check_up()
                if deadline.passed:
                    return None
                self._changed.wait(deadline.remaining)

    def _check_up(self) -> None:
        if self._lost is not None:
            # A new exception for each waiter: a shared one would collect everybody's traceback.
            raise type(self._lost)(self._lost.message, where=self._lost.where, hint=self._lost.hint)

    def _lose(self, why: LinkLost) -> None:
        with self._changed:
            if self._lost is None:
                self._lost, self._lost_ns = why, time.monotonic_ns()
            self._changed.notify_all()

    def _run(self) -> None:
        try:
            while not self._closing.is_set():
                self._publish(self._receive())
        except LinkLost as why:
            self._lose(why)
        except Exception as error:  # noqa: BLE001 - a reader that dies unseen would look like silence
            lost = LinkLost(f"the reader of {self.name} failed: {error!r}")
            lost.__cause__ = error
            self._lose(lost)

    def _publish(self, items: Sequence[Item]) -> None:
        if not items:
            return
        with self._changed:
            for item in items:
                self._last_rx_ns = self._keep(item)
            callbacks = list(self._subscribers.values())
            self._changed.notify_all()
        for item in items:
            for callback in callbacks:
                callback(item)
