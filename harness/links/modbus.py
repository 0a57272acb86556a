"""Modbus over TCP and over serial lines (RTU): requests whose answers are checked, not believed.

The only module that knows pymodbus, and it uses it as a codec only. Sources: Modbus Application Protocol
1.1b3, Modbus Messaging on TCP/IP 1.0b, Modbus over Serial Line 1.02.
"""

from __future__ import annotations

import struct
import threading
import time
from collections import deque
from typing import Protocol

from pymodbus.framer import FramerRTU

from harness.capture import Tap
from harness.errors import LinkLost
from harness.links.base import Deadline, PeerClosed
from harness.links.descriptors import socket_transport
from harness.links.dialer import Dialer, connect
from harness.links.modbus_pdu import (
    BIT_READS,
    ECHOED_WRITES,
    REGISTER_READS,
    Closed,
    Garbled,
    ModbusOutcome,
    ModbusReply,
    NoConnection,
    build_reply,
    decode_registers,
    read_registers,
    write_register,
    write_registers,
)
from harness.links.stream import StreamLink

__all__ = [
    "Closed",
    "Garbled",
    "ModbusLink",
    "ModbusOutcome",
    "ModbusReply",
    "NoConnection",
    "crc16",
    "decode_registers",
    "open_modbus_rtu",
    "open_modbus_tcp",
    "read_registers",
    "write_register",
    "write_registers",
]

_MBAP = struct.Struct(">HHHB")
_MAX_PDU = 253


def crc16(data: bytes) -> bytes:
    """Return the RTU checksum of `data` as it stands on the line."""
    return FramerRTU.compute_CRC(data).to_bytes(2, "big")


# Links


class _Wire(Protocol):
    """Modbus on one kind of transport."""

    def request(self, pdu: bytes, *, unit: int, timeout: float) -> ModbusOutcome: ...

    def raw(self, adu: bytes, *, timeout: float) -> bytes | Closed | NoConnection | None: ...

    def reconnect(self, *, timeout: float) -> NoConnection | None: ...

    def close(self) -> None: ...


class ModbusLink:
    """Requests to a Modbus device, one at a time."""

    def __init__(self, name: str, wire: _Wire, *, unit: int) -> None:
        """Use `open_modbus_tcp` or `open_modbus_rtu`."""
        self.name = name
        self.unit = unit
        self._wire = wire
        self._turn = threading.Lock()

    def request(self, pdu: bytes, *, timeout: float, unit: int | None = None) -> ModbusOutcome:
        """Send a request and return what it came to; None is silence for `timeout` seconds.

        Late answers to earlier requests are passed over (over TCP by transaction, over RTU as far as the
        function tells). Connects if need be.

        Raises:
            LinkLost: the link (not the device) is gone.
        """
        with self._turn:
            return self._wire.request(pdu, unit=self.unit if unit is None else unit, timeout=timeout)

    def raw(self, adu: bytes, *, timeout: float) -> bytes | Closed | NoConnection | None:
        """Send bytes as they are and return what comes back until the line is quiet; None is silence.

        Raises:
            LinkLost: the link (not the device) is gone.
        """
        with self._turn:
            return self._wire.raw(adu, timeout=timeout)

    def reconnect(self, *, timeout: float = 5) -> NoConnection | None:
        """Connect anew (TCP), or drop what is waiting on the line (RTU); None when done."""
        with self._turn:
            return self._wire.reconnect(timeout=timeout)

    def close(self) -> None:
        """Close the connection; idempotent. An RTU link leaves its stream open."""
        self._wire.close()


class _TcpWire:
    """Modbus TCP; each connection is recorded on a channel of its own, counted from 1."""

    def __init__(self, dialer: Dialer, host: str, port: int, *, name: str, tap: Tap) -> None:
        self._dialer = dialer
        self._where = (host, port)
        self._name = name
        self._tap = tap
        self._stream: StreamLink | None = None
        self._connections = 0
        self._transaction = 0
        self._read_to = 0
        self._given_up: deque[int] = deque(maxlen=4096)
        self._shut = False

    def request(self, pdu: bytes, *, unit: int, timeout: float) -> ModbusOutcome:
        deadline = Deadline(timeout)
        transaction = self._next_transaction()
        adu = _MBAP.pack(transaction, 0, len(pdu) + 1, unit) + pdu
        stream = self._ready(deadline)
        if isinstance(stream, NoConnection):
            return stream
        try:
            stream.send(adu, timeout=max(deadline.remaining, 0.1))
            while True:
                frame = self._frame(stream, deadline)
                if frame is None:
                    self._given_up.append(transaction)
                    return None
                if isinstance(frame, Garbled):
                    self._drop()
                    return frame
                seen, _, _, answering = _MBAP.unpack_from(frame)
                if seen == transaction:
                    if answering != unit:
                        return Garbled(frame, f"unit {answering} answers a request to unit {unit}")
                    return build_reply(pdu, frame[_MBAP.size :], unit=unit, raw=frame)
                if seen not in self._given_up:
                    self._given_up.append(transaction)  # its own answer may still come
                    return Garbled(frame, f"transaction {seen} answers transaction {transaction}")
        except PeerClosed:
            return self._closed(stream)

    def raw(self, adu: bytes, *, timeout: float) -> bytes | Closed | NoConnection | None:
        deadline = Deadline(timeout)
        stream = self._ready(deadline)
        if isinstance(stream, NoConnection):
            return stream
        mark = stream.mark()
        self._given_up.append(int.from_bytes(adu[:2], "big"))
        try:
            stream.send(adu, timeout=max(deadline.remaining, 0.1))
            stream.read_at_least(1, since=mark, timeout=deadline.remaining)
            stream.wait_quiet(0.05, deadline.remaining)
        except PeerClosed:
            return self._closed(stream)
        answer = stream.read_since(mark)
        self._read_to = mark + len(answer)
        return answer or None

    def reconnect(self, *, timeout: float) -> NoConnection | None:
        self._drop()
        stream = self._ready(Deadline(timeout))
        return stream if isinstance(stream, NoConnection) else None

    def close(self) -> None:
        self._shut = True
        self._drop()

    def _next_transaction(self) -> int:
        while True:
            self._transaction = self._transaction % 0xFFFF + 1
            if self._transaction not in self._given_up:  # its answer may still come
                return self._transaction

    def _ready(self, deadline: Deadline) -> StreamLink | NoConnection:
        if self._shut:
            raise LinkLost(f"{self._name} was closed by the bench")
        if self._stream is not None and self._stream.lost is not None:
            self._drop()  # closed by the device while nobody asked: it may time out idle connections
        if self._stream is None:
            host, port = self._where
            try:
                sock = connect(self._dialer, host, port, timeout=deadline.remaining)
            except OSError as error:
                return NoConnection(f"{host} port {port}: {error.strerror or error}")
            self._connections += 1
            transport = socket_transport(sock, what=self._name)
            self._stream = StreamLink(self._name, transport, self._tap, channel=self._connections)
            self._read_to = 0
            self._given_up.clear()
        return self._stream

    def _frame(self, stream: StreamLink, deadline: Deadline) -> bytes | Garbled | None:
        """Return the next whole frame, None for silence; Garbled when the framing itself is broken."""
        start = self._read_to
        data = stream.read_at_least(_MBAP.size, since=start, timeout=deadline.remaining)
        if len(data) >= 6:
            _, protocol, length = struct.unpack_from(">HHH", data)
            if protocol != 0 or not 2 <= length <= _MAX_PDU + 1:
                return Garbled(data, f"no Modbus TCP header: protocol {protocol}, length {length}")
            data = stream.read_at_least(6 + length, since=start, timeout=deadline.remaining)
            if len(data) >= 6 + length:
                self._read_to = start + 6 + length
                return data[: 6 + length]
        if data:
            return Garbled(data, "the answer breaks off")
        return None

    def _closed(self, stream: StreamLink) -> Closed:
        rest = stream.read_since(self._read_to)
        self._drop()
        return Closed(rest)

    def _drop(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None


class _RtuWire:
    """Modbus RTU over a stream opened elsewhere."""

    GAP = 0.05
    """Seconds of quiet that end a frame at least: adapters and emulators hold bytes back longer than 3.5 characters."""

    def __init__(self, stream: StreamLink, *, baudrate: int, paced: bool) -> None:
        self._stream = stream
        # 3.5 characters of 11 bits; fixed at 1.75 ms above 19200 Bd (Modbus over Serial Line 2.5.1.1).
        silence = 3.5 * 11 / baudrate if baudrate <= 19200 else 0.00175
        self._gap = max(silence, self.GAP)
        self._silence = silence
        self._character = 11 / baudrate if paced else 0.0
        self._sent_by = 0.0  # monotonic: when the last byte that was sent has left the line
        self._given_up: set[int] = set()

    def request(self, pdu: bytes, *, unit: int, timeout: float) -> ModbusOutcome:
        frame = bytes([unit]) + pdu
        mark, deadline = self._send(frame + crc16(frame), timeout)
        while True:
            data = self._collect(mark, deadline)
            if not data:
                self._given_up.add(pdu[0] if pdu else 0)
                return None
            self._sent_by = 0.0  # an answer: the request has left the line, or never was on one
            if len(data) < 4 or crc16(data[:-2]) != data[-2:]:
                return Garbled(data, "checksum wrong" if len(data) >= 4 else "too short for a frame")
            if data[0] != unit:
                return Garbled(data, f"unit {data[0]} answers a request to unit {unit}")
            reply = build_reply(pdu, data[1:-2], unit=unit, raw=data)
            late = data[1] & 0x7F
            if isinstance(reply, Garbled) and late in self._given_up and not pdu.startswith(bytes([late])):
                self._given_up.discard(late)
                mark += len(data)
                continue
            return reply

    def raw(self, adu: bytes, *, timeout: float) -> bytes | None:
        mark, deadline = self._send(adu, timeout)
        self._stream.read_at_least(1, since=mark, timeout=deadline.remaining)
        self._stream.wait_quiet(self._gap, deadline.remaining)
        return self._stream.read_since(mark) or None

    def reconnect(self, *, timeout: float) -> None:
        self._stream.wait_quiet(self._gap, timeout)
        self._given_up.clear()

    def close(self) -> None:
        """The stream belongs to whoever opened it."""

    def _send(self, adu: bytes, timeout: float) -> tuple[int, Deadline]:
        """Send a frame with the silence that must stand before it; return where and until when its answer is read.

        Handing bytes to the adapter takes no time, the line does: what was sent before must have left it, or both
        frames run together, and `timeout` seconds for the answer begin when this one has.
        """
        self._stream.wait_quiet(self._silence, timeout)
        while (left := self._sent_by + self._silence - time.monotonic()) > 0:
            self._stream.wait_quiet(left, left)
        mark = self._stream.mark()
        takes = len(adu) * self._character
        self._stream.send(adu, timeout=max(timeout, 0.1))
        self._sent_by = time.monotonic() + takes
        return mark, Deadline(timeout + takes)

    def _collect(self, mark: int, deadline: Deadline) -> bytes:
        """Return one frame: what its function makes it if the checksum agrees, else all up to a quiet line."""
        data = self._stream.read_at_least(4, since=mark, timeout=deadline.remaining)
        while data and not deadline.passed:
            size = _rtu_size(data)
            if size is not None and len(data) >= size and crc16(data[: size - 2]) == data[size - 2 : size]:
                return data[:size]
            gap = min(self._gap, deadline.remaining)
            more = self._stream.read_at_least(len(data) + 1, since=mark, timeout=gap)
            if len(more) == len(data):
                break
            data = more
        return data


def _rtu_size(data: bytes) -> int | None:
    """Return how long an answer that begins so should be, checksum included; None if its function does not tell."""
    if len(data) < 3:
        return None
    function = data[1]
    if function & 0x80:
        return 5
    if function in BIT_READS + REGISTER_READS:
        return 5 + data[2]
    return 8 if function in ECHOED_WRITES else None


def open_modbus_tcp(dialer: Dialer, host: str, port: int, *, unit: int, name: str, tap: Tap) -> ModbusLink:
    """Return a Modbus TCP link; it connects with the first request (or `reconnect`), so absence is an outcome."""
    return ModbusLink(name, _TcpWire(dialer, host, port, name=name, tap=tap), unit=unit)


def open_modbus_rtu(stream: StreamLink, *, unit: int, baudrate: int, paced: bool = True) -> ModbusLink:
    """Return a Modbus RTU link over an open serial `stream`, whose tap records the bytes.

    `paced`: there is a wire on which bytes take their time; emulated lines have none.
    """
    return ModbusLink(stream.name, _RtuWire(stream, baudrate=baudrate, paced=paced), unit=unit)
