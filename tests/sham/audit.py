"""The audit log (VP1-ICD §2.6)."""

from __future__ import annotations

from datetime import UTC, datetime

from state import Clock, Data

CAPACITY = 1000
COMMAND_RECORDS_PER_S = 10


class AuditLog:
    """Numbered records on the data partition, the oldest dropped first."""

    def __init__(self, *, clock: Clock, data: Data) -> None:
        self._clock = clock
        self._data = data
        self._recent: list[float] = []
        self._unrecorded = 0

    def record(self, event: str, *, surface: str, user: str = "-", result: str = "accepted", detail: str = "-") -> None:
        """Append one record; `detail` is reduced to one printable word."""
        moment = datetime.fromtimestamp(self._clock.wall(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        word = "".join(c if "!" <= c <= "~" else "?" for c in detail)[:40] or "-"
        data = self._data
        data.audit.append(
            f"audit: {data.audit_next} {moment} user={user} surface={surface}"
            f" event={event} result={result} detail={word}"
        )
        data.audit_next += 1
        del data.audit[:-CAPACITY]
        data.save()

    def command_refused(self, detail: str) -> None:
        """A refused CAN command: at most ten records a second, the rest counted in the next one."""
        now = self._clock.monotonic()
        self._recent = [moment for moment in self._recent if now - moment < 1.0]
        if len(self._recent) >= COMMAND_RECORDS_PER_S:
            self._unrecorded += 1
            return
        self._recent.append(now)
        more = f"+{self._unrecorded}" if self._unrecorded else ""
        self._unrecorded = 0
        self.record("command", surface="can", result="refused", detail=detail + more)

    def last(self, count: int) -> list[str]:
        """The last records, oldest first."""
        return self._data.audit[-count:]
