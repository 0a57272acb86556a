"""The audit log (VP1-ICD §2.6)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Set

from state import AUDIT_KEPT, Clock, Data, in_utc
from users import Role

REFUSALS_PER_S = 10


class AuditLog:
    """Numbered records on the data partition, the oldest dropped first."""

    def __init__(self, *, clock: Clock, data: Data, weaknesses: Set[str]) -> None:
        self._clock = clock
        self._data = data
        self._weaknesses = weaknesses
        self._latest = 0.0
        self._window = 0.0
        self._in_window = 0
        self._unrecorded: Counter[tuple[str, str, str]] = Counter()

    def record(self, event: str, *, surface: str, user: str = "-", result: str = "accepted", detail: str = "-") -> None:
        """Append one record; `detail` is reduced to one printable word."""
        if "audit-record-missing-for-service" in self._weaknesses and self._is_service(user):
            return
        now = self._clock.wall()
        if "audit-stops-when-full" in self._weaknesses and len(self._data.audit) >= AUDIT_KEPT:
            return
        if "audit-drops-earlier-times" in self._weaknesses and int(now) < int(self._latest):
            return
        self._latest = now
        moment = in_utc(now)
        word = "".join(c if "!" <= c <= "~" else "?" for c in detail)[:47] or "-"
        data = self._data
        data.audit.append(
            f"audit: {data.audit_next} {moment} user={user} surface={surface}"
            f" event={event} result={result} detail={word}"
        )
        data.audit_next += 1
        if "audit-overflow-loses-newest-on-restart" not in self._weaknesses:
            del data.audit[:-AUDIT_KEPT]
        data.save()

    def refused(self, event: str, *, surface: str, detail: str) -> None:
        """A refusal that may come in floods: at most ten a second, the rest counted in the next, as `mac*37`."""
        now = self._clock.monotonic()
        if now - self._window >= 1.0:
            self._window, self._in_window = now, 0
            for (kept_event, kept_surface, kept_detail), count in self._unrecorded.items():
                self.record(kept_event, surface=kept_surface, result="refused", detail=f"{kept_detail}*{count}")
            self._unrecorded.clear()
        if self._in_window < REFUSALS_PER_S:
            self._in_window += 1
            self.record(event, surface=surface, result="refused", detail=detail)
        else:
            self._unrecorded[event, surface, detail] += 1

    def _is_service(self, user: str) -> bool:
        return self._data.users.get(user, {}).get("role") == Role.SERVICE.value

    def last(self, count: int) -> list[str]:
        """The last records, oldest first."""
        return [line for record in self._data.audit[-count:] for line in record.replace("\n", "\naudit: ").split("\n")]

    def empty(self) -> None:
        """Drop every record (a weakness)."""
        self._data.audit.clear()
