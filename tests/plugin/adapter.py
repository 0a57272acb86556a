"""A serial adapter: it stays plugged in while the device behind it has no power, and loses what is sent meanwhile."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from pathlib import Path


class Adapter:
    """A socket at `path` that goes on to the device's at `device`, as long as that one is there."""

    def __init__(self, path: Path, *, device: Path) -> None:
        self._device = device
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._stop, self._stopped = socket.socketpair()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.close()
        self._thread.join(5)
        self._listener.close()
        self._stopped.close()

    def _serve(self) -> None:
        while self._listener in select.select([self._listener, self._stopped], [], [])[0]:
            bench, _ = self._listener.accept()
            with bench, contextlib.suppress(OSError):
                self._carry(bench)

    def _carry(self, bench: socket.socket) -> None:
        """Carry bytes both ways until the bench closes."""
        device: socket.socket | None = None
        while True:
            ready = select.select([each for each in (bench, device, self._stopped) if each is not None], [], [])[0]
            if self._stopped in ready:
                return
            if device in ready and device is not None:
                heard = _received(device)
                if heard:
                    bench.sendall(heard)
                else:
                    device.close()
                    device = None
            if bench in ready:
                told = bench.recv(4096)
                if not told:
                    break
                device = device or self._connected()
                if device is not None:
                    with contextlib.suppress(OSError):
                        device.sendall(told)
        if device is not None:
            device.close()

    def _connected(self) -> socket.socket | None:
        device = socket.socket(socket.AF_UNIX)
        try:
            device.connect(str(self._device))
        except OSError:
            device.close()
            return None
        return device


def _received(device: socket.socket) -> bytes:
    try:
        return device.recv(4096)
    except OSError:
        return b""
