"""CAN adapters that python-can knows, with a receive loop that outlives passing errors."""

from __future__ import annotations

import contextlib
import errno
import threading
import time
from collections.abc import Sequence

import can

from harness.errors import LinkLost
from harness.links.base import LinkStalled
from harness.links.can_errors import BUS_OFF, BUS_OFF_HINT
from harness.links.canframe import TRANSIENT_SECONDS, CanFrame

__all__ = ["PythonCanTransport"]

RECEIVE_SECONDS = 0.1
"""Longest time python-can spends in one read."""

_GONE = frozenset({errno.ENODEV, errno.ENXIO, errno.ENETDOWN, errno.EBADF})
"""Errors after which an adapter does not come back by itself."""


class PythonCanTransport:
    """A bus opened by python-can, with a receive loop that outlives passing errors."""

    notices_loss_within = TRANSIENT_SECONDS + RECEIVE_SECONDS

    def __init__(self, bus: can.BusABC, *, what: str) -> None:
        self._bus = bus
        self._what = what
        self._closed = threading.Event()
        self._reading = threading.Lock()
        self._failing_since: float | None = None
        self.dropped = None
        """python-can does not say."""

    def read(self, timeout: float) -> Sequence[CanFrame]:
        """Return the next frame if one arrives within `timeout` seconds.

        Raises:
            LinkLost: the adapter is gone, or reports nothing but errors.
        """
        with self._reading:
            if self._closed.is_set():
                raise LinkLost(f"{self._what} was closed by the bench")
            try:
                message = self._bus.recv(min(timeout, RECEIVE_SECONDS))
                bus_off = message is None and self._bus.state is can.BusState.ERROR
            except (can.CanError, OSError, ValueError) as error:
                self._failed(error)
                return ()
            self._failing_since = None
            if bus_off:
                raise LinkLost(f"{self._what}: {BUS_OFF}", hint=BUS_OFF_HINT)
            return () if message is None else (_from_message(message),)

    def write(self, frame: CanFrame, timeout: float) -> None:
        """Send one frame.

        Raises:
            LinkStalled: the adapter did not take it.
            LinkLost: the adapter is gone.
        """
        message = can.Message(
            arbitration_id=frame.can_id,
            data=None if frame.remote else frame.data,
            dlc=len(frame.data),
            is_extended_id=frame.extended,
            is_remote_frame=frame.remote,
            is_error_frame=frame.error,
            is_fd=frame.fd or len(frame.data) > 8,
        )
        try:
            self._bus.send(message, timeout)
        except (can.CanError, OSError) as error:
            if _errno(error) in _GONE:
                raise self._lost(error) from error
            raise LinkStalled(
                f"{self._what} did not take a frame: {error}", hint="is the bus terminated and powered?"
            ) from error

    def close(self) -> None:
        """Shut the bus down once the read under way has ended."""
        self._closed.set()
        with self._reading, contextlib.suppress(can.CanError, OSError):
            self._bus.shutdown()

    def _failed(self, error: Exception) -> None:
        now = time.monotonic()
        if self._failing_since is None:
            self._failing_since = now
        if _errno(error) in _GONE or now - self._failing_since >= TRANSIENT_SECONDS:
            raise self._lost(error) from error
        self._closed.wait(0.02)

    def _lost(self, error: Exception) -> LinkLost:
        return LinkLost(f"{self._what}: {error}", hint="is the adapter plugged in and the bus up?")


def _errno(error: Exception) -> int | None:
    """Return the system's number of an error; python-can has it in a field of its own."""
    return error.error_code if isinstance(error, can.CanError) else getattr(error, "errno", None)


def _from_message(message: can.Message) -> CanFrame:
    return CanFrame(
        message.arbitration_id,
        bytes(message.dlc) if message.is_remote_frame else bytes(message.data),
        extended=message.is_extended_id,
        remote=message.is_remote_frame,
        error=message.is_error_frame,
        at_ns=time.monotonic_ns(),
        fd=message.is_fd,
        stamp=message.timestamp or None,
    )
