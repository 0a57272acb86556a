"""ISO 15765-2 transport, normal addressing, classical CAN: the server's end of one connection."""

from __future__ import annotations

from collections.abc import Callable

from console import Later, Timer

TIMEOUT_S = 1.0
"""N_Bs and N_Cr: how long to wait for the peer's next frame."""


class IsoTp:
    """Puts requests together, has them answered, sends the answer."""

    def __init__(self, *, send: Callable[[bytes], None], answer: Callable[[bytes], bytes | None], later: Later) -> None:
        self._send = send
        self._answer = answer
        self._later = later
        self._timer: Timer | None = None
        self._expected = 0
        self._received = bytearray()
        self._next_in = 0
        self._pending = b""
        self._next_out = 0

    def close(self) -> None:
        """Abort whatever is under way."""
        self._expected = 0
        self._pending = b""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def feed(self, frame: bytes) -> None:
        """The data of one CAN frame; what makes no sense is ignored."""
        if not frame:
            return
        kind, low = frame[0] >> 4, frame[0] & 0x0F
        if kind == 0 and 1 <= low <= 7 and len(frame) > low:
            self._complete(frame[1 : 1 + low])
        elif kind == 1 and len(frame) == 8:
            self._first(low << 8 | frame[1], frame[2:])
        elif kind == 2 and self._expected:
            self._consecutive(low, frame[1:])
        elif kind == 3 and self._pending and len(frame) >= 3:
            self._flow_control(low, block_size=frame[1], separation=frame[2])

    def _wait(self, seconds: float, then: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._later(seconds, then)

    def _first(self, length: int, data: bytes) -> None:
        if length <= 7:
            return
        self.close()
        self._expected, self._received, self._next_in = length, bytearray(data), 1
        self._emit(b"\x30\x00\x00")
        self._wait(TIMEOUT_S, self.close)

    def _consecutive(self, sequence: int, data: bytes) -> None:
        if sequence != self._next_in:
            self.close()
            return
        self._received += data
        self._next_in = (self._next_in + 1) & 0x0F
        if len(self._received) >= self._expected:
            self._complete(bytes(self._received[: self._expected]))
        else:
            self._wait(TIMEOUT_S, self.close)

    def _complete(self, request: bytes) -> None:
        self.close()
        answer = self._answer(request)
        if answer is None:
            return
        if len(answer) <= 7:
            self._emit(bytes([len(answer)]) + answer)
            return
        self._emit(bytes([0x10 | len(answer) >> 8, len(answer) & 0xFF]) + answer[:6])
        self._pending, self._next_out = answer[6:], 1
        self._wait(TIMEOUT_S, self.close)

    def _flow_control(self, status: int, *, block_size: int, separation: int) -> None:
        if status == 0:
            pause = separation / 1000 if separation <= 0x7F else 0.001
            self._send_block(block_size or -1, pause)
        elif status == 1:
            self._wait(TIMEOUT_S, self.close)
        else:
            self.close()

    def _send_block(self, left: int, pause: float) -> None:
        self._emit(bytes([0x20 | self._next_out]) + self._pending[:7])
        self._pending, self._next_out = self._pending[7:], (self._next_out + 1) & 0x0F
        if not self._pending:
            self.close()
        elif left == 1:
            self._wait(TIMEOUT_S, self.close)
        else:
            self._wait(pause, lambda: self._send_block(left - 1, pause))

    def _emit(self, data: bytes) -> None:
        self._send(data.ljust(8, b"\xcc"))
