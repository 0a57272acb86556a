"""A power supply with a socket, as they stand on benches: SCPI in lines. It is honest, or lies in one way."""

from __future__ import annotations

import contextlib
import re
import select
import socket
import threading
from collections.abc import Callable
from typing import Literal

Lie = Literal[
    "", "still live", "stays on", "stays off", "brown", "over", "thirsty", "mute", "mute on measuring", "closes",
    "garbage", "bytes", "endless", "drips", "not a number", "infinite", "refuses", "other",
]  # fmt: skip

IDENTITY = "Example Instruments,PSU-3005,PSU0042,1.7"


class Supply:
    """Answers one line at a time. `said` holds what it was told, in order."""

    def __init__(self, lie: Lie = "") -> None:
        self.lie = lie
        self.on = False
        self.said: list[str] = []
        self.gone = threading.Event()

    def answer(self, line: str) -> bytes | None:
        """What it answers; None is silence."""
        self.said.append(line)
        match line.upper():
            case "*IDN?":
                return (IDENTITY if self.lie != "other" else "Other Works,LOAD-1,9,1").encode()
            case "OUTP ON":
                self.on = self.lie != "stays off"
            case "OUTP OFF":
                self.on = self.lie == "stays on"
            case "OUTP?":
                return self._lying() or (b"1" if self.on else b"0")
            case "MEAS:VOLT?":
                return self._volts()
            case "MEAS:CURR?":
                return b"+9.0E+00" if self.lie == "thirsty" else b"+2.50E-01"
            case "SYST:ERR?":
                return b'-221,"Settings conflict \x1b[2J"' if self.lie == "refuses" else b'+0,"No error"'
        return None

    def _lying(self) -> bytes | None:
        return {"garbage": b"\x07maybe \x1b[31m", "bytes": b"\xff\xfe1"}.get(self.lie)

    def _volts(self) -> bytes | None:
        match self.lie:
            case "still live":
                return b"+5.00000E+00"
            case "mute on measuring":
                return None
            case "not a number":
                return b"9.91E+37"
            case "infinite":
                return b"-9.9E37"
            case "brown":
                return b"3.1"
            case "over":
                return b"24.0"
        return b"+5.00000E+00" if self.on else b"+1.2E-03"

    def serve(self, read: Callable[[], bytes], write: Callable[[bytes], object]) -> None:
        """Read and answer lines until the peer is gone."""
        if self.lie == "closes":
            read()
            return
        pending = b""
        while data := read():
            pending += data
            while b"\n" in pending:
                line, _, pending = pending.partition(b"\n")
                if self.lie == "mute":
                    continue
                if self.lie == "endless":
                    write(b"1" * 5000)
                    continue
                if self.lie == "drips":
                    while not self.gone.wait(0.02):
                        write(b"1")
                    return
                answer = self.answer(line.decode("ascii").strip())
                if answer is not None:
                    write(answer + b"\n")


class SupplyServer:
    """A supply behind a loopback port; one connection at a time, as most of them do it."""

    def __init__(self, lie: Lie = "") -> None:
        self.supply = Supply(lie)
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.resource = f"TCPIP::127.0.0.1::{self._listener.getsockname()[1]}::SOCKET"
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                with connection, contextlib.suppress(OSError):
                    connection.settimeout(20)
                    self.supply.serve(lambda: connection.recv(4096), connection.sendall)  # noqa: B023

    def close(self) -> None:
        self.supply.gone.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)


def told(supply: Supply) -> list[str]:
    """The commands that switch, in order."""
    return [line for line in supply.said if re.match("OUTP O", line)]


def readable(descriptor: int, timeout: float) -> bool:
    return bool(select.select([descriptor], [], [], timeout)[0])
