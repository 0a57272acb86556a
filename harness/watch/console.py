"""The console watch: death strings in what the device says by itself."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence

from harness.links.stream import StreamLink
from harness.watch.base import Incident, IncidentKind, WatchReport

__all__ = ["ConsoleWatch"]

#: Bytes kept to find a death string across two reads.
_TAIL = 512
#: Incidents kept; a device that dies for ever says nothing new.
_MOST = 100


class ConsoleWatch:
    """Looks for death strings on the console, but not in the files that travel over it.

    `sent` returns what the bench sent last: a payload echoed back that happens to spell a death string is not
    one (DESIGN: a death string needs corroboration).
    """

    def __init__(self, stream: StreamLink, *, patterns: Sequence[str], sent: Callable[[], bytes]) -> None:
        self.name = "console"
        self._patterns = [re.compile(pattern.encode()) for pattern in patterns]
        self._sent = sent
        self._lock = threading.Lock()
        self._tail = b""
        self._samples = 0
        self._incidents: list[Incident] = []
        self._stream = stream
        self._unsubscribe = stream.subscribe(self._on_bytes)

    def _on_bytes(self, data: bytes, at_ns: int) -> None:
        with self._lock:
            self._samples += len(data)
            if self._stream.carrying:
                self._tail = b""
                return
            text = self._tail + data
            for pattern in self._patterns:
                for match in pattern.finditer(text):
                    if match.end() <= len(self._tail) or len(self._incidents) >= _MOST:
                        continue
                    if match[0] in self._sent():
                        continue
                    start = text.rfind(b"\n", 0, match.start()) + 1
                    line = text[start : match.end() + 80].split(b"\n")[0]
                    detail = line.decode("utf-8", errors="backslashreplace").strip()
                    self._incidents.append(Incident(IncidentKind.DEATH, at_ns / 1e9, detail))
            self._tail = text[-_TAIL:]

    def report(self) -> WatchReport:
        """A console may be silent without being dead: it is fresh as long as its line is there."""
        fresh = self._stream.lost is None
        with self._lock:
            return WatchReport(self.name, "", self._samples, fresh=fresh, incidents=tuple(self._incidents))

    def close(self) -> None:
        """Stop listening."""
        self._unsubscribe()
