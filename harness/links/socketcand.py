"""The socketcand text protocol in raw mode: a CAN bus behind a TCP or unix socket.

Elements are `< word … >`; the server greets with `< hi >`, answers `< ok >`, and then sends
`< frame ID SECONDS.MICROSECONDS HEX >` for what it hears. Three digits are a standard identifier, eight
an extended one. Source: socketcand's doc/protocol.md and its behaviour in raw mode. Nine digits carry
SocketCAN's flag bits without meaning an extended identifier (a server that reads the identifier as one
hexadecimal word takes it so), which is how standard remote frames are sent.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.errors import BenchFault, LinkLost
from harness.links.base import Deadline
from harness.links.canframe import ERROR_FLAG, EXTENDED_MASK, REMOTE_FLAG, STANDARD_MASK, CanFrame
from harness.links.stream import Transport

__all__ = ["Element", "ElementParser", "SocketcandTransport", "encode_send", "parse_frame"]

MAX_ELEMENT = 512
"""Longest element kept while its end is missing; a CAN FD frame takes about 170 characters."""

PROMPT_EVERY = 0.5
"""Seconds between two requests for a greeting."""

ECHO_AFTER = 0.2
"""Seconds of silence after which a TCP server is asked for an echo."""
ECHO_WITHIN = 0.55
"""Seconds within which a server that has echoed before must do so again, else it has vanished."""
READ_WITHIN = 0.1
"""Seconds after which a silent server is looked at again."""

_FRAME = re.compile(r"frame ([0-9A-Fa-f]{1,9}) (\d{1,12}\.\d{1,9})((?: [0-9A-Fa-f]{2,16})*)")
_FD_FRAME = re.compile(r"fdframe ([0-9A-Fa-f]{1,9}) [0-9A-Fa-f]{1,2} (\d{1,12}\.\d{1,9})((?: [0-9A-Fa-f]{2,128})*)")
_ERROR = re.compile(r"error ([0-9A-Fa-f]{3,8}) \d{1,12}\.\d{1,9}")


@dataclass(frozen=True, slots=True)
class Element:
    """One `< … >` without its brackets and outer blanks; `junk` if the text cannot be one."""

    text: str
    junk: bool = False


class ElementParser:
    """Cuts a stream of bytes, however split, into elements; what lies between them is junk."""

    def __init__(self) -> None:
        self._pending = b""

    def feed(self, data: bytes) -> list[Element]:
        """Return the elements completed by `data`, in order."""
        elements: list[Element] = []
        pieces = (self._pending + data).split(b">")
        self._pending = pieces.pop()
        for piece in pieces:
            before, bracket, inside = piece.rpartition(b"<")
            if before.strip() or not bracket:
                elements.append(_junk(before if bracket else piece))
            if bracket:
                text = inside.strip()
                elements.append(Element(text.decode("ascii")) if text.isascii() else _junk(text))
        if len(self._pending) > MAX_ELEMENT:
            elements.append(_junk(self._pending))
            self._pending = b""
        return elements


def parse_frame(text: str, *, at_ns: int = 0) -> CanFrame | None:
    """Return the frame an element's text stands for, None if it is none or is malformed."""
    if error := _ERROR.fullmatch(text):
        return CanFrame(int(error[1], 16) & EXTENDED_MASK, b"", error=True, at_ns=at_ns)
    flexible = _FD_FRAME.fullmatch(text)
    found = flexible or _FRAME.fullmatch(text)
    if found is None:
        return None
    digits, hexadecimal = found[1], found[3].replace(" ", "")
    if len(hexadecimal) % 2 or len(hexadecimal) // 2 > (64 if flexible else 8):
        return None
    word = int(digits, 16)
    extended = len(digits) == 8
    can_id = word & EXTENDED_MASK
    flagged = len(digits) >= 8
    if word >> 32 or (not extended and can_id > STANDARD_MASK) or (word != can_id and not flagged):
        return None
    return CanFrame(
        can_id,
        bytes.fromhex(hexadecimal),
        extended=extended,
        remote=flagged and bool(word & REMOTE_FLAG),
        error=flagged and bool(word & ERROR_FLAG),
        at_ns=at_ns,
        fd=flexible is not None,
        stamp=float(found[2]),
    )


def encode_send(frame: CanFrame) -> bytes:
    """Return the command that makes the server send `frame`."""
    word = frame.can_id | (REMOTE_FLAG if frame.remote else 0) | (ERROR_FLAG if frame.error else 0)
    width = 8 if frame.extended else 9 if word > STANDARD_MASK else 3
    data = "".join(f" {byte:02X}" for byte in frame.data)
    if frame.fd or len(frame.data) > 8:
        return f"< fdsend {word:0{width}X} 0 {len(frame.data)}{data} >".encode()
    return f"< send {word:0{width}X} {len(frame.data)}{data} >".encode()


class SocketcandTransport:
    """One bus of a socketcand server, opened in raw mode.

    `keepalive` (for TCP, where a peer can vanish without a word) asks a silent server for an `< echo >`;
    a server never seen to echo is not held to it.
    """

    def __init__(self, stream: Transport, *, what: str, keepalive: bool) -> None:
        self._stream = stream
        self._what = what
        self._keepalive = keepalive
        self._parser = ElementParser()
        self._early: list[CanFrame] = []
        self._echoes = False
        self._asked_at: float | None = None
        self._heard_at = time.monotonic()
        self.junk = 0
        """How many malformed elements the server sent."""
        self.dropped = None
        """The protocol does not say."""
        self.notices_loss_within = ECHO_AFTER + ECHO_WITHIN + READ_WITHIN if keepalive else 0.0
        """Seconds that may pass from a loss until `read` raises it."""

    def open(self, channel: str, *, timeout: float, prompt: bool = False) -> None:
        """Open the bus `channel` within `timeout` seconds.

        With `prompt` the greeting is asked for, again and again: a server behind an emulator's port does not see
        who connects, and while the emulated machine boots there is none yet.

        Raises:
            BenchFault: the server does not speak socketcand, or refuses the bus.
            LinkLost: the server went away.
        """
        deadline = Deadline(timeout)
        while prompt and deadline.remaining > PROMPT_EVERY:
            self._stream.write(b"< hi >", deadline.remaining)
            try:
                self._await("hi", Deadline(PROMPT_EVERY))
            except LinkLost:
                raise
            except BenchFault:
                continue
            break
        else:
            self._await("hi", deadline)
        for command in (f"open {channel}", "rawmode"):
            self._stream.write(f"< {command} >".encode(), deadline.remaining)
            self._await("ok", deadline)
        if self._keepalive:
            self._ask()

    def read(self, timeout: float) -> Sequence[CanFrame]:
        """Return the frames that arrive within `timeout` seconds.

        Raises:
            LinkLost: the server closed the connection, vanished, or reported an error.
        """
        if self._early:
            early, self._early = self._early, []
            return early
        deadline = Deadline(timeout)
        frames: list[CanFrame] = []
        while not frames and not deadline.passed:
            data = self._stream.read(min(deadline.remaining, READ_WITHIN) if self._keepalive else deadline.remaining)
            if data:
                frames = self._decode(data)
            elif self._keepalive:
                self._check_alive()
        return frames

    def write(self, frame: CanFrame, timeout: float) -> None:
        """Have the server send `frame`; raises as `Transport.write`."""
        self._stream.write(encode_send(frame), timeout)

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()

    def _decode(self, data: bytes) -> list[CanFrame]:
        self._heard_at, self._asked_at = time.monotonic(), None
        at_ns = time.monotonic_ns()
        frames = []
        for element in self._parser.feed(data):
            frame = None if element.junk else parse_frame(element.text, at_ns=at_ns)
            if frame is not None:
                frames.append(frame)
            elif element.text == "echo" and not element.junk:
                self._echoes = True
            elif element.text.startswith("error unknown command") and not self._echoes:
                self._keepalive = False
            elif element.junk or element.text not in ("ok", "hi"):
                self.junk += 1
        return frames

    def _check_alive(self) -> None:
        now = time.monotonic()
        if self._asked_at is None:
            if now - self._heard_at >= ECHO_AFTER:
                self._ask()
        elif now - self._asked_at >= ECHO_WITHIN and self._echoes:
            raise LinkLost(f"{self._what}: the socketcand server no longer answers")

    def _ask(self) -> None:
        self._stream.write(b"< echo >", 1.0)
        self._asked_at = time.monotonic()

    def _await(self, wanted: str, deadline: Deadline) -> None:
        seen: list[str] = []
        while not deadline.passed:
            elements = self._parser.feed(self._stream.read(deadline.remaining))
            for number, element in enumerate(elements):
                if element.text == wanted and not element.junk:
                    frames = (parse_frame(later.text) for later in elements[number + 1 :] if not later.junk)
                    at_ns = time.monotonic_ns()
                    self._early += [replace(frame, at_ns=at_ns) for frame in frames if frame is not None]
                    return
                if element.text.startswith("error"):
                    raise BenchFault(f"{self._what}: the socketcand server says: {element.text}")
                seen.append(element.text)
        raise BenchFault(
            f"{self._what}: no '< {wanted} >' in time; received {seen[-3:] or 'nothing'}",
            hint="is this a socketcand server, and does it have that bus?",
        )


def _junk(data: bytes) -> Element:
    return Element(data[:MAX_ELEMENT].decode("ascii", "backslashreplace"), junk=True)
