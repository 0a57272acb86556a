"""A link that carries a stream of bytes: consoles, TCP and TLS connections, SSH channels."""

from __future__ import annotations

import bisect
import re
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Literal, NamedTuple, Protocol, runtime_checkable

from harness.capture import Direction, Tap
from harness.errors import LinkLost, UsageError
from harness.links.base import POLL_SECONDS, Deadline, PeerClosed, ReadingLink

__all__ = [
    "HISTORY_BYTES",
    "WINDOW_BYTES",
    "BreakingTransport",
    "ControlLine",
    "Match",
    "PulsingTransport",
    "StreamLink",
    "Transport",
]

ControlLine = Literal["dtr", "rts"]
"""An output line of a serial port beside its data."""

HISTORY_BYTES = 4 * 1024 * 1024
"""How much of what arrived a link remembers; the capture keeps everything."""

WINDOW_BYTES = 64 * 1024
"""Most bytes a regular expression sees at once. A match of up to half of this is always found."""

_LOOK_BEHIND = 256
_SENT = 8192
_STAMPS = 65536
"""Most time stamps kept; a byte older than all of them gets the oldest one."""


class Transport(Protocol):
    """What carries the bytes of a stream. `close` must end a `read` that is under way in another thread."""

    def read(self, timeout: float) -> bytes:
        """Return what arrives within `timeout` seconds; empty is silence. Raises LinkLost when the link is gone."""

    def write(self, data: bytes, timeout: float) -> None:
        """Hand over all of `data`. Raises LinkStalled after `timeout` seconds, LinkLost when the link is gone."""

    def close(self) -> None:
        """Close; idempotent."""


@runtime_checkable
class BreakingTransport(Protocol):
    """A transport that may be able to send a break condition."""

    @property
    def can_break(self) -> bool:
        """Whether it can, as it is opened now."""

    def send_break(self, duration: float) -> None:
        """Hold the line in break for `duration` seconds."""


@runtime_checkable
class PulsingTransport(Protocol):
    """A transport with control lines beside the data."""

    def pulse(self, line: ControlLine, duration: float, *, resting: bool) -> None:
        """Take a control line out of its `resting` state for `duration` seconds. Raises BenchFault if it cannot."""


@dataclass(frozen=True, slots=True)
class Match:
    """What `StreamLink.expect` found."""

    data: bytes
    """All bytes from `since` to the end of the match (fewer if the history no longer reaches back)."""
    groups: tuple[bytes | None, ...]
    """The groups of the regular expression; for plain bytes, none."""
    start: int
    """Absolute offset of the first byte of the match."""
    end: int
    """Absolute offset behind the last byte of the match: the `since` of the next `expect`."""
    at_ns: int
    """`time.monotonic_ns()` when the last byte of the match arrived."""


class _Chunk(NamedTuple):
    data: bytes
    at_ns: int


class StreamLink(ReadingLink[_Chunk]):
    """A stream of bytes with one reader thread, a bounded history and absolute offsets into it."""

    def __init__(self, name: str, transport: Transport, tap: Tap, *, channel: int = 0) -> None:
        """Take over `transport` and start reading; bytes are recorded on `channel` of `tap`."""
        super().__init__(name, notices_loss_within=getattr(transport, "notices_loss_within", 0.0))
        self._transport = transport
        self._tap = tap
        self._channel = channel
        self._history = bytearray()
        self._sent = bytearray()
        self._first = 0
        self._carrying = False
        self._ends: deque[int] = deque(maxlen=_STAMPS)
        self._stamps: deque[int] = deque(maxlen=_STAMPS)
        self._start()

    # Sending

    def send(self, data: bytes, *, timeout: float = 5) -> None:
        """Record and send `data`.

        Raises:
            LinkStalled: not all bytes were taken within `timeout` seconds.
            LinkLost: the link is gone.
        """
        with self._changed:
            self._check_up()
            self._sent += data
            del self._sent[:-_SENT]
        # Recorded first, so that in the capture no answer stands before its question.
        self._tap.record(Direction.TO_DEVICE, data, channel=self._channel)
        try:
            self._transport.write(data, timeout)
        except PeerClosed:
            raise  # what the peer said before may still be read
        except LinkLost as why:
            self._lose(why)
            raise

    @property
    def taken(self) -> bool:
        """Whether the other end has taken everything that was sent, as far as the transport can tell.

        A serial wire loses what the receiver does not take; an emulated one keeps it. Who floods an emulated
        device waits for this, or the flood arrives when the device is long up.
        """
        return bool(getattr(self._transport, "taken", True))

    @property
    def sent_lately(self) -> bytes:
        """The last bytes sent, `_SENT` at most: what comes back may be their echo."""
        with self._changed:
            return bytes(self._sent)

    @property
    def can_break(self) -> bool:
        """Whether the transport can send a break condition."""
        return isinstance(self._transport, BreakingTransport) and self._transport.can_break

    def send_break(self, duration: float = 0.25) -> None:
        """Hold the line in break for `duration` seconds. A break is no byte: it does not show in the capture.

        Raises:
            UsageError: the transport has no break.
            LinkLost: the link is gone.
        """
        if not (isinstance(self._transport, BreakingTransport) and self._transport.can_break):
            raise UsageError(f"{self.name} cannot send a break", hint="use a serial adapter or rfc2217://")
        self._transport.send_break(duration)

    def pulse(self, line: ControlLine, duration: float, *, resting: bool = True) -> None:
        """Take a control line out of its `resting` state for `duration` seconds, and put it back.

        Raises:
            UsageError: the transport has no control lines.
            BenchFault: the adapter cannot switch it.
        """
        if not isinstance(self._transport, PulsingTransport):
            raise UsageError(f"{self.name} has no {line.upper()} line", hint="use a serial adapter or rfc2217://")
        self._transport.pulse(line, duration, resting=resting)

    # Files

    @contextmanager
    def file_transfer(self) -> Iterator[None]:
        """Carry a file for a block: what arrives is the file's content, and nothing the device says."""
        self._carrying = True
        try:
            yield
        finally:
            self._carrying = False

    @property
    def carrying(self) -> bool:
        """Whether it carries a file at this moment."""
        return self._carrying

    # Receiving

    def mark(self) -> int:
        """Return the absolute offset of the next byte to arrive."""
        with self._changed:
            return self._end

    def remembers(self, mark: int) -> bool:
        """Say whether all that arrived from `mark` on is still there."""
        with self._changed:
            return mark >= self._first

    def read_since(self, mark: int) -> bytes:
        """Return what arrived from `mark` on, as far as the history reaches back; never waits, never raises."""
        with self._changed:
            return self._slice(mark, self._end)

    def read_at_least(self, count: int, *, since: int, timeout: float) -> bytes:
        """Wait until `count` bytes arrived from `since` on and return all there are; fewer mean silence.

        Raises:
            LinkLost: the link is gone with fewer bytes there.
        """
        self._wait(lambda: True if self._end - since >= count else None, timeout)
        return self.read_since(since)

    def expect(self, pattern: re.Pattern[bytes] | bytes, *, since: int, timeout: float) -> Match | None:
        """Wait until `pattern` (a regular expression or literal bytes) is found from offset `since` on.

        Returns None after `timeout` seconds of waiting in vain. The expression sees at most
        `WINDOW_BYTES` at a time, so a talkative device cannot make the search quadratic.

        Raises:
            LinkLost: the link is gone and what arrived does not hold the pattern.
        """
        regex = re.compile(re.escape(pattern)) if isinstance(pattern, bytes) else pattern
        position = since

        def search() -> Match | None:
            nonlocal position
            while True:
                position = max(position, self._first)
                before = min(_LOOK_BEHIND, position - max(since, self._first))
                window = self._slice(position - before, position + WINDOW_BYTES)
                found = regex.search(window, before)
                if found is not None:
                    return self._match(found, since=since, base=position - before)
                if position + WINDOW_BYTES >= self._end:
                    return None
                position += WINDOW_BYTES // 2

        return self._wait(search, timeout)

    def wait_quiet(self, quiet: float, timeout: float) -> bytes:
        """Wait until nothing arrived for `quiet` seconds, at most `timeout`; return what arrived meanwhile.

        Raises:
            LinkLost: the link is gone.
        """
        mark = self.mark()
        deadline = Deadline(timeout)
        since_ns = time.monotonic_ns()
        while True:
            seen = self.mark()
            idle = (time.monotonic_ns() - max(since_ns, self.last_rx_ns or 0)) / 1e9
            if idle >= quiet or deadline.passed:
                return self.read_since(mark)
            self.read_at_least(1, since=seen, timeout=min(quiet - idle, deadline.remaining))

    def subscribe(self, callback: Callable[[bytes, int], None]) -> Callable[[], None]:
        """Call `callback(data, at_ns)` from the reader thread with all that arrives; returns the way to stop it.

        The callback must not block. If it raises, the link counts as lost.
        """
        return self._attach(lambda chunk: callback(chunk.data, chunk.at_ns))

    # What the reader thread does

    def _receive(self) -> Sequence[_Chunk]:
        data = self._transport.read(POLL_SECONDS)
        if not data:
            return ()
        at_ns = time.monotonic_ns()
        self._tap.record(Direction.FROM_DEVICE, data, channel=self._channel)
        return (_Chunk(data, at_ns),)

    def _keep(self, item: _Chunk) -> int:
        self._history += item.data
        self._ends.append(self._end)
        self._stamps.append(item.at_ns)
        if len(self._history) > HISTORY_BYTES + HISTORY_BYTES // 4:
            surplus = len(self._history) - HISTORY_BYTES
            del self._history[:surplus]
            self._first += surplus
            while self._ends[0] <= self._first:
                self._ends.popleft()
                self._stamps.popleft()
        return item.at_ns

    def _shut(self) -> None:
        self._transport.close()

    # The history (lock held)

    @property
    def _end(self) -> int:
        return self._first + len(self._history)

    def _slice(self, start: int, end: int) -> bytes:
        return bytes(self._history[max(0, start - self._first) : max(0, end - self._first)])

    def _match(self, found: re.Match[bytes], *, since: int, base: int) -> Match:
        end = base + found.end()
        return Match(
            data=self._slice(since, end),
            groups=found.groups(),
            start=base + found.start(),
            end=end,
            at_ns=self._stamp(end),
        )

    def _stamp(self, end: int) -> int:
        """Return when the byte before offset `end` arrived."""
        chunk = bisect.bisect_left(self._ends, end)
        return next(islice(self._stamps, chunk, None), self._stamps[-1] if self._stamps else 0)
