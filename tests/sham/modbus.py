"""Modbus registers and the framings over TCP and RTU (VP1-ICD §6)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

from console import Later, Timer
from mind import Mind
from state import GENUINE, RATE_MAX, RATE_MIN

if TYPE_CHECKING:
    from application import Application

UNIT = 1
PROTECTED = range(2, 5)
RTU_SILENCE_S = 0.02
"""Longer than the 3.5 characters of the wire (2 ms at 19200 baud), since a host's scheduling is coarser."""


TCP_IDLE_S = 60.0
"""A connection without a request for so long is dropped."""


class Refusal(Exception):  # noqa: N818 - the outcome of a request, not an error of this program
    """A Modbus exception code."""

    def __init__(self, code: int) -> None:
        super().__init__(str(code))
        self.code = code


class ModbusServer:
    """The register map and the four function codes."""

    def __init__(self, application: Application) -> None:
        self._app = application
        self.requests = 0

    def answer(self, request: bytes) -> bytes:
        """Answer one PDU."""
        self.requests += 1
        self._app.asked_on_a_bus()
        function = request[0]
        try:
            if function in (3, 4):
                return self._read(request)
            if function == 6:
                return self._write_one(request)
            if function == 16:
                return self._write_several(request)
            raise Refusal(1)
        except Refusal as refusal:
            return bytes([function | 0x80, refusal.code])

    def _alarm(self) -> int:
        return 0 if "alarm-missing-on-modbus" in self._app.weaknesses else self._app.therapy.alarm

    def input_registers(self) -> list[int]:
        """All input registers, in order."""
        identity, therapy = self._app.identity, self._app.therapy
        packed = struct.pack(
            ">HHHHII", therapy.state, self._alarm(), therapy.set_rate, therapy.flow,
            int(therapy.volume_ul) & 0xFFFFFFFF, therapy.uptime_ms,
        )  # fmt: skip
        text = f"{identity.serial:10.10}{identity.model:4.4}".encode()
        stays_old = "version-stays-old-on-one-surface-after-update" in self._app.weaknesses
        version = GENUINE.version if stays_old else identity.version
        return [*_words(packed), *version, *_words(text)]

    def holding_registers(self) -> list[int]:
        """All holding registers, in order."""
        data = self._app.data
        return [data.brightness, data.alarm_volume, data.set_rate, data.highest_rate, data.occlusion_limit]

    def _read(self, request: bytes) -> bytes:
        if len(request) != 5:
            raise Refusal(3)
        function, address, quantity = struct.unpack(">BHH", request)
        if not 1 <= quantity <= 125:
            raise Refusal(3)
        registers = self.holding_registers() if function == 3 else self.input_registers()
        if address + quantity > len(registers):
            raise Refusal(2)
        values = registers[address : address + quantity]
        return struct.pack(f">BB{quantity}H", function, 2 * quantity, *values)

    def _write_one(self, request: bytes) -> bytes:
        if len(request) != 5:
            raise Refusal(3)
        _, address, value = struct.unpack(">BHH", request)
        self._write(address, [value])
        return request

    def _write_several(self, request: bytes) -> bytes:
        if len(request) < 8:
            raise Refusal(3)
        _, address, quantity, size = struct.unpack(">BHHB", request[:6])
        if not 1 <= quantity <= 123 or size != 2 * quantity or len(request) != 6 + size:
            raise Refusal(3)
        self._write(address, _words(request[6:]))
        return request[:5]

    def _write(self, address: int, values: list[int]) -> None:
        targets = range(address, address + len(values))
        if targets[-1] >= len(self.holding_registers()):
            raise Refusal(2)
        protected = [target for target in targets if target in PROTECTED]
        if protected and "modbus-protected-write" not in self._app.weaknesses:
            self._app.audit.refused("write", surface="modbus", detail=str(protected[0]))
            raise Refusal(2)
        limits = {0: (0, 100), 1: (1, 10), 2: (RATE_MIN, RATE_MAX)}
        for target, value in zip(targets, values, strict=True):
            low, high = limits.get(target, (0, 0xFFFF))
            if not low <= value <= high:
                raise Refusal(3)
        names = ("brightness", "alarm_volume", "set_rate", "highest_rate", "occlusion_limit")
        for target, value in zip(targets, values, strict=True):
            setattr(self._app.data, names[target], value)
        self._app.data.save()


class TcpFraming:
    """MBAP framing of one TCP connection."""

    def __init__(
        self,
        *,
        mind: Callable[[], Mind],
        write: Callable[[bytes], None],
        hang_up: Callable[[], None],
        later: Later,
    ) -> None:
        self._mind = mind
        self._write = write
        self._hang_up = hang_up
        self._later = later
        self._buffer = bytearray()
        self._idle: Timer = later(TCP_IDLE_S, hang_up)

    def feed(self, data: bytes) -> None:
        """Bytes from the client; a header that cannot be one ends the connection."""
        self._buffer += data
        while len(self._buffer) >= 7:
            transaction, protocol, length, unit = struct.unpack(">HHHB", self._buffer[:7])
            if protocol != 0 or not 2 <= length <= 254:
                self._hang_up()
                return
            if len(self._buffer) < 6 + length:
                return
            request = bytes(self._buffer[7 : 6 + length])
            del self._buffer[: 6 + length]
            self._idle.cancel()
            self._idle = self._later(TCP_IDLE_S, self._hang_up)
            if unit == UNIT:
                self._write(self._frame(transaction, request))

    def _frame(self, transaction: int, request: bytes) -> bytes:
        mind = self._mind()
        answer = mind.modbus(request)
        return struct.pack(">HHHB", mind.transaction(transaction), 0, len(answer) + 1, UNIT) + answer

    def close(self) -> None:
        """Forget a half-received request."""
        self._idle.cancel()
        self._buffer.clear()


class RtuFraming:
    """RTU framing over a byte stream: requests of known length at once, others at the next silence."""

    def __init__(self, *, mind: Callable[[], Mind], write: Callable[[bytes], None], later: Later) -> None:
        self._mind = mind
        self._write = write
        self._later = later
        self._buffer = bytearray()
        self._silence: Timer | None = None

    def feed(self, data: bytes) -> None:
        """Bytes from the line."""
        self._buffer += data
        while (length := self._known_length()) and len(self._buffer) >= length:
            frame = bytes(self._buffer[:length])
            if crc16(frame):
                break
            del self._buffer[:length]
            self._process(frame)
        self.close()
        if self._buffer:
            self._silence = self._later(RTU_SILENCE_S, self._end_of_frame)

    def close(self) -> None:
        """Stop waiting for the silence."""
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None

    def _known_length(self) -> int:
        if len(self._buffer) >= 7 and self._buffer[1] == 16:
            return 9 + self._buffer[6]
        return 8 if len(self._buffer) >= 2 and self._buffer[1] in (3, 4, 6) else 0

    def _end_of_frame(self) -> None:
        frame = bytes(self._buffer)
        self._buffer.clear()
        if 4 <= len(frame) <= 256 and not crc16(frame):
            self._process(frame)

    def _process(self, frame: bytes) -> None:
        if frame[0] == UNIT:
            self._write(with_crc(bytes([UNIT]) + self._mind().modbus(frame[1:-2])))


def crc16(data: bytes) -> int:
    """CRC-16 of Modbus RTU; 0 over a frame with its right CRC."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0xA001 if crc & 1 else crc >> 1
    return crc


def with_crc(data: bytes) -> bytes:
    """A frame with its CRC, low byte first."""
    return data + struct.pack("<H", crc16(data))


def _words(data: bytes) -> list[int]:
    return list(struct.unpack(f">{len(data) // 2}H", data))
