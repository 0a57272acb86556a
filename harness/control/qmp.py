"""QMP with a synchronous face: the asyncio client runs in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any, TypeVar

from qemu.qmp import QMPClient, QMPError
from qemu.qmp.events import EventListener

from harness.control.base import Deadline
from harness.errors import ControlFault

__all__ = ["DISCONNECTED", "QmpSession"]

DISCONNECTED = "DISCONNECTED"
"""Not one of QEMU's own events: the monitor's connection ended."""

_CLOSE_S = 5.0
_Result = TypeVar("_Result")


class _Watcher(EventListener):
    """Hands each event on at the moment it is read, in order; keeps none itself."""

    def __init__(self, on_event: Callable[[str, Mapping[str, Any]], None]) -> None:
        super().__init__()
        self._on_event = on_event

    def accept(self, event: Mapping[str, Any]) -> bool:
        self._on_event(event["event"], event.get("data", {}))
        return False


class QmpSession:
    """The monitor of one QEMU process over a connected socket.

    `on_event` is called in the session's thread with each event's name and data, at the end with DISCONNECTED.

    Raises:
        ControlFault: QEMU did not greet within `timeout` seconds (it could not start: see its log).
    """

    def __init__(
        self, connection: socket.socket, on_event: Callable[[str, Mapping[str, Any]], None], *, timeout: float
    ) -> None:
        self._on_event = on_event
        self._status: dict[str, str] = {}  # the last status of each event that has one
        self._changed = threading.Condition()
        self._lost = False
        self._loop = asyncio.new_event_loop()
        self._client = QMPClient()
        self._client.register_listener(_Watcher(self._take))
        self._thread = threading.Thread(target=self._loop.run_forever, name="qmp", daemon=True)
        self._thread.start()
        try:
            self._call(self._client.connect(connection), "greeting", timeout)
        except BaseException:
            self.close()
            raise
        asyncio.run_coroutine_threadsafe(self._notice_loss(), self._loop)

    def execute(self, command: str, arguments: Mapping[str, Any] | None = None, *, timeout: float = 10.0) -> Any:
        """Carry out one command and return its answer.

        Raises:
            ControlFault: QEMU refused it, did not answer in time, or is gone.
        """
        return self._call(self._client.execute(command, dict(arguments or {})), command, timeout)

    def pass_descriptor(self, descriptor: int, name: str, *, timeout: float = 10.0) -> None:
        """Give QEMU an open file under `name`, as `fd:NAME` for migrations.

        Raises:
            ControlFault: as for `execute`.
        """

        async def send() -> None:
            self._client.send_fd_scm(descriptor)
            await self._client.execute("getfd", {"fdname": name})

        self._call(send(), "getfd", timeout)

    def wait_status(self, event: str, wanted: str, *, timeout: float) -> None:
        """Wait until the last `event` carried the status `wanted`.

        Raises:
            ControlFault: the status became `failed`, QEMU went away, or time ran out.
        """
        deadline = Deadline(timeout)
        with self._changed:
            while (status := self._status.get(event)) != wanted:
                if status == "failed" or self._lost or not self._changed.wait(deadline.left()):
                    raise ControlFault(f"QEMU: {event} came to {status}, not to {wanted}, in {timeout:g} s")

    def close(self) -> None:
        """Drop the connection and end the thread."""
        if not self._thread.is_alive():
            return
        with contextlib.suppress(ControlFault):
            self._call(self._client.disconnect(), "disconnect", _CLOSE_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CLOSE_S)
        if not self._thread.is_alive():
            self._loop.close()

    def _take(self, event: str, data: Mapping[str, Any]) -> None:
        if "status" in data:
            with self._changed:
                self._status[event] = str(data["status"])
                self._changed.notify_all()
        self._on_event(event, data)

    async def _notice_loss(self) -> None:
        while self._client.runstate.name == "RUNNING":
            await self._client.runstate_changed()
        with self._changed:
            self._lost = True
            self._changed.notify_all()
        self._on_event(DISCONNECTED, {})

    def _call(self, work: Coroutine[Any, Any, _Result], what: str, timeout: float) -> _Result:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(timeout)
        except FutureTimeout:
            future.cancel()
            raise ControlFault(f"QEMU did not answer {what!r} within {timeout:g} s") from None
        except (QMPError, OSError, EOFError, CancelledError) as error:
            raise ControlFault(f"QEMU, {what!r}: {error or type(error).__name__}") from error
