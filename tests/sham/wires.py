"""Lies told on the wire, whatever the application says."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable

from can_bus import pack
from console import Later
from lines import HonestWire, Line
from modbus import with_crc

SLOW_S = 3.0
"""How late the slow liar answers, in seconds."""


class Mute(HonestWire):
    """Swallows everything, both ways; connections stay open."""

    answers_ssh = False
    answers_tls = False
    transport_alive = False

    def received(self, line: Line, data: bytes, /) -> None:
        """Never heard."""

    def send(self, line: Line, data: bytes, _broadcast: bool, /) -> None:
        """Never sent."""


class Frozen(Mute):
    """As mute, but what is broadcast goes on."""

    def send(self, line: Line, data: bytes, broadcast: bool, /) -> None:
        """Only what nobody asked for."""
        if broadcast:
            line.write(data)


class Echo(Mute):
    """Returns the bench's own bytes (on CAN: its frames; within TLS: its requests)."""

    answers_tls = True
    transport_alive = True

    def received(self, line: Line, data: bytes, /) -> None:
        """Straight back."""
        line.write(data)


class Slow(HonestWire):
    """Honest, but every answer is late by `SLOW_S`; broadcasts are in time."""

    def __init__(self, later: Later) -> None:
        self._later = later

    def send(self, line: Line, data: bytes, broadcast: bool, /) -> None:
        """In time if broadcast, else late."""
        if broadcast:
            line.write(data)
        else:
            self._later(SLOW_S, lambda: line.write(data))

    def hang_up(self, line: Line, /) -> None:
        """After what is still to be sent."""
        self._later(SLOW_S, line.hang_up)


class Babble(Mute):
    """Random bytes on everything, asked and unasked, at times in valid framing."""

    answers_tls = True
    transport_alive = True

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._makers: dict[str, Callable[[bytes], bytes]] = {
            "console": self._text,
            "ssh": self._text,
            "can": self._can,
            "rtu": self._rtu,
            "modbus": self._modbus,
            "tcp": self._tcp,
            "https": self._https,
        }

    def received(self, line: Line, data: bytes, /) -> None:
        """Something comes back, but not an answer."""
        line.write(self._makers[line.kind](data))

    def tick(self, lines: list[Line], /) -> None:
        """Something comes without being asked for."""
        for line in lines:
            if self._rng.random() < 0.3 or line.kind == "can":
                line.write(self._makers[line.kind](b""))

    def _junk(self, longest: int) -> bytes:
        return self._rng.randbytes(self._rng.randint(1, longest))

    def _text(self, _request: bytes) -> bytes:
        number = self._rng.randrange(10**6)
        believable = (
            b"login: ", b"password: ", b"ok\r\n", b"VP-1> ", b"\r\n", b"error: login refused\r\n",
            b"uptime_ms: %d\r\n" % number, b"ok: logged in as admin\r\nVP-1> ",
        )  # fmt: skip
        return self._rng.choice(believable) if self._rng.random() < 0.4 else self._junk(40)

    def _can(self, _request: bytes) -> bytes:
        known = (0x100, 0x101, 0x102, 0x201, 0x7E8)
        identifier = self._rng.choice(known) if self._rng.random() < 0.5 else self._rng.randrange(0x800)
        return pack(identifier, self._rng.randbytes(self._rng.choice((0, 1, 3, 8, 8, 8))))

    def _pdu(self) -> bytes:
        function = self._rng.choice((3, 4, 6, 16, 0x83, 0x84, self._rng.randrange(256)))
        return bytes([function]) + self._junk(20)

    def _rtu(self, _request: bytes) -> bytes:
        return with_crc(b"\x01" + self._pdu()) if self._rng.random() < 0.4 else self._junk(40)

    def _modbus(self, request: bytes) -> bytes:
        if self._rng.random() < 0.5:
            return self._junk(40)
        transaction = request[:2].ljust(2, b"\0") if self._rng.random() < 0.5 else self._rng.randbytes(2)
        pdu = self._pdu()
        return transaction + struct.pack(">HHB", 0, len(pdu) + 1, 1) + pdu

    def _https(self, _request: bytes) -> bytes:
        number = self._rng.randrange(10**6)
        bodies = (
            b'{"error": "not permitted"}', b'{"error": "login refused"}', b"{}", b'{"uptime_ms": %d}' % number,
            b'{"token": "%064x", "role": "administrator"}' % number, b'{"state": "ready"}', self._junk(60),
        )  # fmt: skip
        status, body = self._rng.choice((200, 201, 202, 400, 401, 403, 422, 500)), self._rng.choice(bodies)
        whole = b"HTTP/1.1 %d Babble\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)
        return self._rng.choice((whole, whole, whole[: self._rng.randrange(1, len(whole))], self._junk(200)))

    def _tcp(self, _request: bytes) -> bytes:
        return b"SSH-2.0-dropbear\r\n" + self._junk(200) if self._rng.random() < 0.3 else self._junk(60)
