"""CAN adapters that python-can knows, with a receive loop that outlives passing errors."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Sequence

import can

from harness.errors import LinkLost
from harness.links.base import LinkStalled
from harness.links.canframe import TRANSIENT_SECONDS, CanFrame

__all__ = ["PythonCanTransport"]


class PythonCanTransport:
    """A bus opened by python-can, with a receive loop that outlives passing errors."""

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
                message = self._bus.recv(min(timeout, 0.1))
            except (can.CanError, OSError, ValueError) as error:
                self._failed(error)
                return ()
            self._failing_since = None
            return () if message is None else (_from_message(message),)

    def write(self, frame: CanFrame, timeout: float) -> None:
        """Send one frame.

        Raises:
            LinkStalled: the adapter did not take it.
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
        if now - self._failing_since >= TRANSIENT_SECONDS:
            raise LinkLost(f"{self._what}: {error}", hint="is the adapter plugged in and the bus up?") from error
        self._closed.wait(0.02)


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
