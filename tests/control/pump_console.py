"""A terminal on the emulated pump's console."""

from __future__ import annotations

import select
import socket
from types import TracebackType
from typing import Self

from harness.control.base import Deadline
from harness.control.qemu import QemuControl


class Console:
    """Sends, and keeps what came until it was expected."""

    def __init__(self, control: QemuControl) -> None:
        self.seen = b""
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(control.chardev("console").removeprefix("unix:"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def expect(self, wanted: bytes, *, timeout: float = 10.0) -> bytes:
        """What came up to and with `wanted`, which is then used up."""
        deadline = Deadline(timeout)
        while wanted not in self.seen:
            assert select.select([self._socket], [], [], deadline.left())[0], f"no {wanted!r} in {self.seen!r}"
            self.seen += self._socket.recv(4096)
        before, _, self.seen = self.seen.partition(wanted)
        return before + wanted

    def send(self, text: bytes) -> None:
        self._socket.sendall(text)

    def command(self, line: bytes) -> bytes:
        self.send(line + b"\r")
        return self.expect(b"VP-1> ")

    def log_in(self) -> None:
        self.send(b"\r")
        self.expect(b"login: ")
        self.send(b"operator\r")
        self.expect(b"password: ")
        self.send(b"Drip-7-Harbour\r")
        self.expect(b"VP-1> ")
