"""How a fuzz case reaches a surface, and what came of it. Silence is an answer a device may give to nonsense."""

from __future__ import annotations

import time
from collections import deque
from enum import StrEnum
from typing import Protocol

from harness.bench import Bench
from harness.device.modbus_map import ModbusSurface
from harness.device.uds import SESSION_CONTROL, UdsSurface
from harness.errors import UsageError
from harness.fuzz.cases import FuzzCase
from harness.links.base import PeerClosed
from harness.links.modbus import Closed, NoConnection, crc16
from harness.links.network import open_tcp
from harness.links.stream import StreamLink
from harness.rig.rig_file import ModbusTcpLinkSpec

__all__ = ["Delivery", "ModbusRtuDelivery", "ModbusTcpDelivery", "Pace", "Reply", "UdsDelivery"]


class Reply(StrEnum):
    """What came back."""

    ANSWERED = "answered"
    SILENT = "silent"
    CLOSED = "closed"
    """The device closed the connection: its right, if it lets itself be connected to again."""
    UNREACHED = "unreached"
    """The case was not sent: the state it needs could not be reached."""


class Delivery(Protocol):
    """Sends cases to one surface."""

    default_cases: int
    """How many cases make a campaign when nobody says otherwise."""

    def send(self, case: FuzzCase) -> Reply:
        """Bring the device into the state the case needs, send it, wait as long as answers take."""

    def close(self) -> None:
        """Let go of connections of its own."""


class Pace:
    """How long to wait for an answer, learned from those that came: most of a campaign's time is silence."""

    FLOOR = 0.05
    FACTOR = 4.0
    FIRST = 0.5
    """Seconds to wait before any answer has come."""

    def __init__(self, ceiling: float) -> None:
        self._ceiling = ceiling
        self._recent: deque[float] = deque(maxlen=30)

    @property
    def timeout(self) -> float:
        """Seconds to wait now."""
        learned = max(self.FLOOR, self.FACTOR * max(self._recent)) if self._recent else self.FIRST
        return min(self._ceiling, learned)

    def answered(self, seconds: float) -> None:
        """Note how long an answer took."""
        self._recent.append(seconds)


class ModbusTcpDelivery:
    """Raw bytes to a Modbus TCP server, over a connection of the campaign's own: probes use another one."""

    default_cases = 400
    _CHANNELS = 100_000

    def __init__(self, bench: Bench, surface: ModbusSurface) -> None:
        self._bench = bench
        self._link = surface.spec.link
        spec = bench.rig.file.links[self._link]
        if not isinstance(spec, ModbusTcpLinkSpec):
            raise UsageError(f"link {self._link!r} is {spec.type}, not modbus-tcp")
        self._where = (spec.host, spec.port)
        self._within = bench.wiring.answer_within
        self._pace = Pace(self._within)
        self._stream: StreamLink | None = None
        self._connections = 0

    def send(self, case: FuzzCase) -> Reply:
        """Send one ADU. The connection is kept only after an answer that ends both frames."""
        stream = self._connected()
        if stream is None:
            return Reply.UNREACHED
        mark = stream.mark()
        started = time.monotonic()
        try:
            stream.send(case.data, timeout=self._within)
            answer = stream.read_at_least(6, since=mark, timeout=self._pace.timeout)
            whole = 6 + int.from_bytes(answer[4:6])
            if len(answer) >= 6:
                answer = stream.read_at_least(whole, since=mark, timeout=self._pace.timeout)
        except PeerClosed:
            self.close()
            return Reply.CLOSED
        if not answer:
            self.close()  # the device may wait for more bytes: the next case would only be the rest of this one
            return Reply.SILENT
        self._pace.answered(time.monotonic() - started)
        if len(answer) != whole or len(case.data) != 6 + int.from_bytes(case.data[4:6]):
            self.close()
        return Reply.ANSWERED

    def close(self) -> None:
        """Close the connection."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _connected(self) -> StreamLink | None:
        if self._stream is not None and self._stream.lost is not None:
            self.close()
        if self._stream is None:
            host, port = self._where
            self._connections += 1
            wiring = self._bench.wiring
            try:
                self._stream = open_tcp(
                    wiring.dialer, host, port, name=f"{self._link} fuzz", tap=wiring.tap(self._link),
                    timeout=self._within, channel=self._CHANNELS + self._connections,
                )  # fmt: skip
            except OSError:
                return None
        return self._stream


class ModbusRtuDelivery:
    """Unit and PDU to a Modbus RTU server, with the right checksum: framing errors end at the first layer."""

    default_cases = 60
    QUIET = 0.05
    """Seconds of quiet by which the link knows that an answer is whole."""
    BYTE_SECONDS = 0.0006
    """One byte of 11 bits at 19200 Bd."""

    def __init__(self, bench: Bench, surface: ModbusSurface) -> None:
        self._link = bench.wiring.modbus(surface.spec.link)
        self._pace = Pace(bench.wiring.answer_within)

    def send(self, case: FuzzCase) -> Reply:
        """Send one frame and wait until the line is quiet."""
        started = time.monotonic()
        allowance = self.QUIET + len(case.data) * self.BYTE_SECONDS
        outcome = self._link.raw(case.data + crc16(case.data), timeout=self._pace.timeout + allowance)
        match outcome:
            case None:
                return Reply.SILENT
            case Closed() | NoConnection():
                return Reply.CLOSED
        self._pace.answered(max(0.0, time.monotonic() - started - allowance))
        return Reply.ANSWERED

    def close(self) -> None:
        """The line belongs to the bench."""


class UdsDelivery:
    """Requests to a UDS server, each in the diagnostic session it is meant for."""

    default_cases = 300
    FRAME_SECONDS = 0.004
    """Allowed for each further CAN frame of a long request."""

    def __init__(self, bench: Bench, surface: UdsSurface) -> None:
        spec = surface.spec
        self._client = bench.wiring.uds(spec.link, spec.request_id, spec.response_id)
        self._sessions = spec.sessions
        self._pace = Pace(bench.wiring.answer_within)
        self._session = ""
        self._used = 0.0
        self._lasts = spec.session_timeout * 0.8

    def send(self, case: FuzzCase) -> Reply:
        """Enter the session if need be and send one request."""
        if not case.data:
            return Reply.UNREACHED
        if not self._enter(case.state):
            return Reply.UNREACHED
        if case.data[0] == SESSION_CONTROL:
            self._session = ""
        started = time.monotonic()
        self._used = started
        allowance = len(case.data) / 7 * self.FRAME_SECONDS
        if self._client.request(case.data, timeout=self._pace.timeout + allowance) is None:
            return Reply.SILENT
        self._pace.answered(max(0.0, time.monotonic() - started - allowance))
        return Reply.ANSWERED

    def close(self) -> None:
        """The bus belongs to the bench."""

    def _enter(self, session: str) -> bool:
        if not session or (session == self._session and time.monotonic() - self._used < self._lasts):
            return True
        # Whether it is granted is the device's business: an answer is enough.
        for _ in range(3):
            request = bytes([SESSION_CONTROL, self._sessions[session]])
            if self._client.request(request, timeout=max(0.3, self._pace.timeout)) is not None:
                self._session = session
                return True
        return False
