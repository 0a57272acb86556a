"""Messages on a byte stream: framed for sending, and found again in whatever a device sends."""

from __future__ import annotations

from dataclasses import dataclass, replace

from harness.device.checksums import ALGORITHMS
from harness.rig import message_surface as spec_of

__all__ = ["Codec", "Found"]


@dataclass(frozen=True, slots=True)
class Found:
    """The first message in some bytes. `used` counts its bytes and those before it; `fault` says what is wrong.

    `begin` counts those before it only.
    """

    body: bytes
    used: int
    fault: str = ""
    begin: int = 0


class Codec:
    """The framing that a device file declares."""

    def __init__(self, spec: spec_of.Framing) -> None:
        self.longest = spec.longest
        self._mark, self._prefix = spec.start.encode("latin-1"), spec.prefix.encode("latin-1")
        self.begins_anew = bool(self._mark) and spec.start_begins_anew
        """Whether a message that lacks its end is forgotten when the next one begins."""
        self._answer_starts = [mark.encode("latin-1") for mark in spec.answer_start or (spec.start,)]
        self.end = spec.end.encode("latin-1")
        self._sum = spec.checksum
        self.separator = spec.checksum.separator.encode("latin-1") if spec.checksum else b""
        size = ALGORITHMS[spec.checksum.algorithm][0] if spec.checksum else 0
        self.width = size if spec.checksum is None or spec.checksum.encoding == "binary" else 2 * size
        """Bytes of a checksum as it stands in a message."""
        self._in_digits = bool(self.end) and spec.checksum is not None and spec.checksum.encoding != "binary"

    @property
    def start(self) -> bytes:
        """What stands before the text of a request."""
        return self._mark + self._prefix

    @property
    def close(self) -> bytes:
        """What ends a message that has begun, whatever it holds: with a checksum of zeros where one is waited for."""
        return self.separator + (b"0" * self.width if self.separator else b"") + self.end

    def delimits(self, text: str) -> bool:
        """Say whether a text has something in it that begins or ends a message."""
        marks = [self._mark if self.begins_anew else b"", b"" if self._in_digits else self.separator, self.end]
        return any(mark and mark in text.encode() for mark in marks)

    def checksum(self, body: bytes) -> bytes:
        """Return the checksum of the text of a request as it stands in the message; empty where there is none."""
        return self._checksum(self._prefix + body)

    def _checksum(self, body: bytes) -> bytes:
        if self._sum is None:
            return b""
        parts = {"start": self._mark, "text": body, "separator": self.separator}
        size, algorithm = ALGORITHMS[self._sum.algorithm]
        value = algorithm(b"".join(part for name, part in parts.items() if name in self._sum.covers))
        octets = value.to_bytes(size, self._sum.order)
        if self._sum.encoding == "binary":
            return octets
        text = octets.hex()
        return (text.upper() if self._sum.encoding == "hex-upper" else text).encode()

    def frame(self, body: bytes, *, checksum: bytes | None = None) -> bytes:
        """Return a whole message; with `checksum` in the place of the right one."""
        return self.start + body + self.separator + (self.checksum(body) if checksum is None else checksum) + self.end

    def begun(self, data: bytes) -> bool:
        """Say whether there is more in some bytes than the line end that some send behind a whole message."""
        return bool(data.strip(b"\r\n"))

    def first(self, data: bytes, *, final: bool = False) -> Found | None:
        """Return the first message of the device in `data`, None while it is not complete.

        What stands before a start is noise. Without a start, empty lines are skipped. `final`: nothing more comes.
        """
        begins = [(data.find(mark), len(mark)) for mark in self._answer_starts]
        begin, mark = min((each for each in begins if each[0] >= 0), default=(-1, 0))
        if begin < 0:
            return None
        if not mark and self.width == 0:
            while data[begin:].startswith(self.end):
                begin += len(self.end)
        at = begin + mark
        found = self._behind_separator(data, at) if self.separator else self._before_end(data, at, final=final)
        if found is None and len(data) - begin > self.longest:
            found = Found(data[at:], len(data), f"more than {self.longest} bytes without an end")
        elif found is not None and found.used - begin > self.longest:
            found = replace(found, fault=f"{found.used - begin} bytes instead of {self.longest} at most")
        return replace(found, begin=begin) if found else None

    def _behind_separator(self, data: bytes, at: int) -> Found | None:
        """Text up to the separator, then a checksum of known length, then the end.

        A checksum in digits holds no separator: where the end is known the last one counts, and a text may have others.
        """
        close = data.find(self.end, at) if self.end else -1
        last = close >= 0 and self._in_digits
        split = data.rfind(self.separator, at, close) if last else data.find(self.separator, at)
        if 0 <= close < split or split < 0 <= close:
            return Found(data[at:close], close + len(self.end), "no checksum")
        if split < 0:
            return None
        after = split + len(self.separator) + self.width
        used = after + len(self.end)
        if len(data) < used:
            return None
        body, seen = data[at:split], data[after - self.width : after]
        if data[after:used] != self.end:
            return Found(body, used, "no end behind the checksum")
        return Found(body, used, self._fault(body, seen))

    def _before_end(self, data: bytes, at: int, *, final: bool) -> Found | None:
        """Text and checksum up to the end; bytes of a binary checksum may look like one."""
        binary = self._sum is not None and self._sum.encoding == "binary"
        first: Found | None = None
        close = data.find(self.end, at)
        while close >= 0:
            split = max(at, close - self.width)
            body, seen = data[at:split], data[split:close]
            found = Found(body, close + len(self.end), self._fault(body, seen))
            if not found.fault or not binary:
                return found
            first = first or found
            # Beyond the longest message there is none: a device may send nothing but ends.
            close = data.find(self.end, close + 1, at + self.longest)
        return first if final else None

    def _fault(self, body: bytes, seen: bytes) -> str:
        right = self._checksum(body)
        return "" if seen == right else f"checksum {seen!r} instead of {right!r}"
