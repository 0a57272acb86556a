"""Files over a byte stream by XMODEM and YMODEM, with a deadline and a bound, towards a device that may do anything.

XMODEM (128-byte and 1K blocks, CRC or checksum) is the package xmodem; what YMODEM adds, a block 0 with name and length
before the file and an empty one after it, is here. Source: C. Forsberg, XMODEM/YMODEM Protocol Reference, 1988-10-14.
XMODEM says nothing of a length: the file is filled up to whole blocks with 1A.
"""

from __future__ import annotations

import io
import logging
from binascii import crc_hqx
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from xmodem import XMODEM

from harness.links.base import Deadline
from harness.links.stream import StreamLink
from harness.links.transfer_values import TransferFailed

__all__ = ["Carried", "LineProtocol", "file_block", "file_of_block", "receive_file", "send_file"]

LineProtocol = Literal["xmodem", "xmodem-1k", "ymodem"]

# The library logs what a hostile device sends; what comes of it says what matters.
logging.getLogger("xmodem.XMODEM").setLevel(logging.CRITICAL + 1)

SOH, STX, ACK, NAK, CAN, CRC = b"\x01", b"\x02", b"\x06", b"\x15", b"\x18", b"C"
RETRIES = 10
"""Times a block is sent or asked for again (Forsberg, 7.3.2)."""
ANSWER_SECONDS = 60.0
"""Seconds an acknowledgement may take: flash is erased before it (Forsberg, 7.3.3: a minute)."""
BLOCK_SECONDS = 5.0
"""Seconds for a block, and until it is asked for again."""
QUIET_SECONDS = 1.0
"""Silence after which a damaged block counts as over."""
SLACK = 64 * 1024
"""Bytes a device may send beside the file: acknowledgements, noise, blocks said again."""


@dataclass(frozen=True, slots=True)
class Carried:
    """What came of a transfer, the file where one was received, and the offset behind its last byte in the stream."""

    failed: TransferFailed | None
    data: bytes
    end: int


def send_file(
    stream: StreamLink, data: bytes, *, since: int, by: LineProtocol, name: str = "", within: float
) -> Carried:
    """Send a file to a device that was told to receive one; it has not failed when all of it was acknowledged.

    Args:
        stream: the line.
        data: the file.
        since: offset in the stream behind the device's last words.
        by: protocol.
        name: what YMODEM calls the file.
        within: seconds for everything.

    Raises:
        LinkLost: the line is gone.
        LinkStalled: the line does not take the bytes.
    """
    line = _Line(stream, since, within=within, most=SLACK + len(data))
    failed = line.guarded(lambda: _send(line, data, by, name))
    return Carried(failed, b"", line.at)


def receive_file(stream: StreamLink, *, since: int, by: LineProtocol, most: int, within: float) -> Carried:
    """Receive one file of at most `most` bytes from a device that was told to send it; else as `send_file`.

    With YMODEM it has the announced length; with XMODEM whole blocks, the filling included.
    """
    line = _Line(stream, since, within=within, most=2 * most + SLACK)
    got = bytearray()
    failed = line.guarded(lambda: _receive(line, got, by, most))
    return Carried(failed, bytes(got), line.at)


def file_block(name: bytes, size: int | None) -> bytes:
    """Return YMODEM's block 0 of a file; that of an empty name and no size ends the batch."""
    text = name.replace(b"\0", b"") + b"\0" + (b"" if size is None else b"%d" % size)
    size_of_block = 128 if len(text) < 128 else 1024
    payload = text[:1023].ljust(size_of_block, b"\0")
    return (SOH if size_of_block == 128 else STX) + b"\x00\xff" + payload + crc_hqx(payload, 0).to_bytes(2)


def file_of_block(payload: bytes) -> tuple[bytes, int | None]:
    """Return name and length in the payload of YMODEM's block 0; no length where none is told, or what is no number."""
    name, _, rest = payload.partition(b"\0")
    digits = rest.split(b"\0")[0].split(b" ")[0]
    return name, int(digits) if digits.isdigit() and len(digits) <= 18 else None


class _Stop(Exception):  # noqa: N818 - the end of a transfer, no error
    def __init__(self, failed: TransferFailed) -> None:
        self.failed = failed


class _Line:
    """The line as a transfer sees it: byte by byte, until the deadline, the bound or two CAN in a row."""

    def __init__(self, stream: StreamLink, since: int, *, within: float, most: int) -> None:
        self._stream = stream
        self._since = self._at = since
        self._deadline = Deadline(within)
        self._within = within
        self._most = most
        self._ahead = b""
        self._cancels = 0

    def guarded(self, transfer: Callable[[], TransferFailed | None]) -> TransferFailed | None:
        """Carry a transfer out; one the bench gives up is cancelled, so that the device gets its line back."""
        with self._stream.file_transfer():
            try:
                failed = transfer()
            except _Stop as stop:
                failed = stop.failed
            if failed is not None and failed.kind != "cancelled":
                self._stream.send(CAN * 3)
            return failed

    def get(self, size: int, timeout: float = 1) -> bytes | None:
        """Return up to `size` bytes that arrive within `timeout` seconds, None for silence.

        Raises:
            _Stop: the transfer is over.
        """
        if self._deadline.passed:
            heard = self._stream.mark() > self._since
            why = f"no end of the transfer within {self._within:g} s"
            raise _Stop(TransferFailed(why if heard else "silence", "broken" if heard else "silent"))
        if self._stream.mark() - self._since > self._most:
            raise _Stop(TransferFailed(f"the device sent more than {self._most} bytes"))
        lacking = size - len(self._ahead)
        if lacking > 0:
            wait = min(timeout, self._deadline.remaining)
            fresh = self._stream.read_at_least(lacking, since=self._at, timeout=wait)
            self._at += len(fresh)
            self._ahead += fresh
        data, self._ahead = self._ahead[:size], self._ahead[size:]
        if size == 1:
            self._cancels = self._cancels + 1 if data == CAN else 0
            if self._cancels == 2:
                raise _Stop(TransferFailed("the device cancelled the transfer", "cancelled"))
        return data or None

    @property
    def at(self) -> int:
        """Offset in the stream behind the last byte that was got."""
        return self._at - len(self._ahead)

    @property
    def left(self) -> float:
        """Seconds until the deadline."""
        return self._deadline.remaining

    def put(self, data: bytes, timeout: float = 1) -> int:
        """Send; `timeout` is the library's and of no interest: the deadline is."""
        self._stream.send(bytes(data), timeout=max(1.0, self._deadline.remaining))
        return len(data)

    def back(self, data: bytes) -> None:
        """Put bytes back to be got again."""
        self._ahead = data + self._ahead

    def await_start(self) -> None:
        """Wait until the device asks for the first block, and let that be got again."""
        while (asked := self.get(1, BLOCK_SECONDS)) not in (CRC, NAK):
            pass
        self.back(asked)

    def await_quiet(self) -> None:
        """Let what is under way come to its end."""
        while self.get(1, QUIET_SECONDS) is not None:
            pass

    def xmodem(self, by: LineProtocol) -> XMODEM:
        """Return the library's XMODEM on this line."""
        return XMODEM(self.get, self.put, mode="xmodem" if by == "xmodem" else "xmodem1k")


def _send(line: _Line, data: bytes, by: LineProtocol, name: str) -> TransferFailed | None:
    line.await_start()
    if by == "ymodem":
        line.get(1)
        _send_block(line, file_block(name.encode("utf-8", errors="surrogateescape"), len(data)))
        line.await_start()
    if not line.xmodem(by).send(io.BytesIO(data), retry=RETRIES, timeout=ANSWER_SECONDS, quiet=True):
        return TransferFailed(f"the device does not acknowledge a block sent {RETRIES + 1} times")
    if by == "ymodem":
        # Some end here, and what comes next are words: only a C alone asks for the end of the batch.
        asked = line.get(1, BLOCK_SECONDS)
        after = line.get(1, 0.2)
        if asked == CRC and after is None:
            _send_block(line, file_block(b"", None))
        else:
            line.back((asked or b"") + (after or b""))
    return None


def _send_block(line: _Line, block: bytes) -> None:
    for _ in range(RETRIES):
        line.put(block)
        answer = line.get(1, ANSWER_SECONDS)
        while answer not in (ACK, NAK, None):
            answer = line.get(1, ANSWER_SECONDS)
        if answer == ACK:
            return
    raise _Stop(TransferFailed(f"the device does not acknowledge block 0 sent {RETRIES} times"))


def _receive(line: _Line, got: bytearray, by: LineProtocol, most: int) -> TransferFailed | None:
    size: int | None = None
    if by == "ymodem":
        name, size = file_of_block(_receive_block(line, CRC))
        if not name:
            return TransferFailed("the device offers no file")
        if size is not None and size > most:
            return TransferFailed(f"the device announces {size} bytes, {most} are taken at most")
        line.put(ACK)
    # Asked for with CRC for the first half of the tries, with a checksum for the rest.
    tries = max(RETRIES, int(line.left / BLOCK_SECONDS) + 1)
    ended = line.xmodem(by).recv(_Bounded(got, most), crc_mode=1, retry=tries, timeout=BLOCK_SECONDS, quiet=True)
    if ended is None:
        return TransferFailed(f"no block of the file after {tries} tries")
    if by == "ymodem":
        name, _ = file_of_block(_receive_block(line, CRC))
        line.put(ACK)
        if name:
            return TransferFailed("the device sends more than one file")
    if size is not None:
        if len(got) < size:
            return TransferFailed(f"the device announced {size} bytes and sent {len(got)}")
        del got[size:]
    return None


def _receive_block(line: _Line, ask: bytes) -> bytes:
    """Ask for YMODEM's block 0 and return its payload; it is not acknowledged yet."""
    for _ in range(RETRIES):
        line.put(ask)
        start = line.get(1, BLOCK_SECONDS)
        if start in (SOH, STX):
            length = 128 if start == SOH else 1024
            block = line.get(length + 4, BLOCK_SECONDS) or b""
            payload, check = block[2:-2], block[-2:]
            if block[:2] == b"\x00\xff" and len(payload) == length and crc_hqx(payload, 0).to_bytes(2) == check:
                return payload
            ask = NAK
        if start is not None:
            line.await_quiet()
    raise _Stop(TransferFailed(f"no block 0 after {RETRIES} tries"))


class _Bounded:
    """What the library writes the file into; whole blocks may go a little over."""

    def __init__(self, into: bytearray, most: int) -> None:
        self._into = into
        self._most = most

    def write(self, data: bytes) -> None:
        if len(self._into) + len(data) >= self._most + 1024:
            raise _Stop(TransferFailed(f"the file has more than {self._most} bytes"))
        self._into += data
