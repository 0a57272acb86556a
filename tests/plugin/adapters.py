"""What stands between a bench and the sham pump, and can fail: adapters, serial servers, CAN gateways, slow networks.

Each relays between what the bench opens and a line of the pump. A testcase, in another process, unplugs it by a file:
`unplug-NAME` beside `NAME` holds for how many seconds.
"""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import socket
import threading
import time
import tty
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import serial
from serial.rfc2217 import PortManager

Bend = Callable[[bytes], bytes]


class Adapter:
    """A serial adapter: a pseudo-terminal at `path`, which stays the same, in front of a line of the pump.

    `delay` holds back what goes to the bench for so many seconds, `bend` changes it.
    """

    def __init__(self, line: Callable[[], socket.socket], path: Path) -> None:
        self._line = line
        self.path = path
        self.delay = 0.0
        self._mark, self._lag = path.with_name("never"), 0.0
        self.bend: Bend = bytes
        self.stale_after_loss = b""
        self.gone: list[datetime] = []
        self.there: list[datetime] = []
        self._back_at: float | None = None
        self._waiting: list[tuple[float, bytes]] = []
        self._back: socket.socket | None = None
        self._selector = selectors.DefaultSelector()
        self._stop = threading.Event()
        self.plug()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def delays_from(self, mark: Path, seconds: float) -> None:
        """Hold everything back for so many seconds once a file is there."""
        self._mark, self._lag = mark, seconds

    @property
    def url(self) -> str:
        """What the rig file calls it."""
        return str(self.path)

    def plug(self) -> None:
        """It is there from now on."""
        self._open_front()
        self.there.append(datetime.now(UTC))

    def unplug(self) -> None:
        """It is gone, and with it everything on its way."""
        self.gone.append(datetime.now(UTC))
        self._waiting.clear()
        self._close_front()
        self._close_back()

    def close(self) -> None:
        """End."""
        self._stop.set()
        self._thread.join(5)
        self._close_front()
        self._close_back()

    # The bench's side

    def _open_front(self) -> None:
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self._selector.register(self._master, selectors.EVENT_READ, self._from_bench)
        self._open_back()
        self.path.symlink_to(os.ttyname(self._slave))

    def _close_front(self) -> None:
        if self.path.is_symlink():
            self.path.unlink()
            self._selector.unregister(self._master)
            os.close(self._master)
            os.close(self._slave)

    def _from_bench(self) -> None:
        self._to_pump(os.read(self._master, 65536))

    def _to_bench(self, data: bytes) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(self._master, data)

    # The pump's side

    def _open_back(self) -> None:
        self._close_back()
        self._back = self._line()
        self._selector.register(self._back, selectors.EVENT_READ, self._from_pump)

    def _close_back(self) -> None:
        if self._back is not None:
            self._selector.unregister(self._back)
            self._back.close()
            self._back = None

    def _from_pump(self) -> None:
        assert self._back is not None
        data = self._back.recv(65536)
        if not data:
            self._close_back()
        else:
            delay = self._lag if self._mark.exists() else self.delay
            self._waiting.append((time.monotonic() + delay, self.bend(data)))

    def _to_pump(self, data: bytes) -> None:
        if self._back is not None:
            self._back.sendall(data)

    def _fail(self, how: str) -> float:
        """Fail as a testcase asks; return for how many seconds."""
        self.unplug()
        return float(how)

    def _recover(self) -> None:
        self.plug()

    def _run(self) -> None:
        asked = self.path.with_name(f"unplug-{self.path.name}")
        while not self._stop.is_set():
            for key, _ in self._selector.select(0.005):
                with contextlib.suppress(OSError):
                    key.data()
            if self._back_at is None and asked.exists() and (how := asked.read_text()):
                self._back_at = time.monotonic() + self._fail(how)
                asked.unlink()
            if self._back_at is not None and time.monotonic() >= self._back_at:
                self._back_at = None
                self._recover()
            while self._waiting and self._waiting[0][0] <= time.monotonic():
                self._to_bench(self._waiting.pop(0)[1])


class RawServer(Adapter):
    """A serial server or CAN gateway over TCP; each connection gets a line of its own. Unplugged it is switched off."""

    scheme = "socket://"

    @property
    def url(self) -> str:
        return f"{self.scheme}127.0.0.1:{self.port}"

    def _open_front(self) -> None:
        self._connection: socket.socket | None = None
        self.port = getattr(self, "port", 0)
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)

    def _close_front(self) -> None:
        if self._listener.fileno() >= 0:
            self._selector.unregister(self._listener)
            self._listener.close()
        self._hang_up()

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._selector.unregister(self._connection)
            self._connection.close()
            self._connection = None

    def _accept(self) -> None:
        self._hang_up()
        self._connection, _ = self._listener.accept()
        self._selector.register(self._connection, selectors.EVENT_READ, self._from_bench)
        self._open_back()
        if self.stale_after_loss and self.gone:
            self._waiting.append((time.monotonic() + 0.1, self.stale_after_loss))
            self.stale_after_loss = b""

    def _from_bench(self) -> None:
        assert self._connection is not None
        data = self._connection.recv(65536)
        if data:
            self._to_pump(data)
        else:
            self._hang_up()
            self._close_back()

    def _to_bench(self, data: bytes) -> None:
        if self._connection is not None:
            with contextlib.suppress(OSError):
                self._connection.sendall(data)


class Rfc2217Server(RawServer):
    """The same with telnet's coding, as `ser2net` serves it."""

    scheme = "rfc2217://"

    def _accept(self) -> None:
        super()._accept()
        self._manager = PortManager(serial.serial_for_url("loop://", timeout=0), self)

    def write(self, data: bytes) -> None:
        """What the port manager has to say to its client."""
        super()._to_bench(data)

    def _to_pump(self, data: bytes) -> None:
        super()._to_pump(b"".join(self._manager.filter(data)))

    def _to_bench(self, data: bytes) -> None:
        super()._to_bench(b"".join(self._manager.escape(data)))


class SocketcandServer(RawServer):
    """A CAN gateway: the pump's bus speaks socketcand already."""

    scheme = "tcp:"
    recovers_after = 1000.0
    """Seconds until a controller that is off the bus takes part again; the greeting is the gateway's own."""

    def _fail(self, how: str) -> float:
        if how != "bus-off":
            return super()._fail(how)
        self._waiting.append((0.0, b"< error 040 12.000000 >"))
        self.bend = _no_frames
        return self.recovers_after

    def _recover(self) -> None:
        if self.bend is bytes:
            super()._recover()
        self.bend = bytes


def _no_frames(data: bytes) -> bytes:
    """Leave what the gateway says itself: whoever is off the bus hears nothing."""
    return b"".join(found for found in re.findall(rb"<[^>]*>", data) if b"frame" not in found)


class SlcanAdapter(Adapter):
    """A USB CAN adapter with the serial line protocol (LAWICEL), as python-can's `slcan` speaks it."""

    def _from_pump(self) -> None:
        assert self._back is not None
        self._text += self._back.recv(65536)
        *elements, self._text = self._text.split(b">")
        for element in elements:
            if found := re.search(rb"frame (\w{3}) [\d.]+ (\w*)", element):
                frame = b"t%b%d%b\r" % (found[1], len(found[2]) // 2, found[2])
                self._waiting.append((time.monotonic(), frame))

    def _open_back(self) -> None:
        super()._open_back()
        self._text, self._commands = b"", b""
        assert self._back is not None
        self._back.sendall(b"< open can1 >< rawmode >")

    def _to_pump(self, data: bytes) -> None:
        *commands, self._commands = (self._commands + data).split(b"\r")
        for command in commands:
            if command[:1] == b"t":
                octets = re.findall(rb"..", command[5:])
                super()._to_pump(b"< send %b %b %b >" % (command[1:4], command[4:5], b" ".join(octets)))
