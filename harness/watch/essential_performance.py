"""The essential performance as a signal on a bus: a heartbeat without gaps and a value within its limit."""

from __future__ import annotations

import math
import threading
import time

from harness.links.can import CanFrame, CanLink
from harness.rig.claims import EssentialPerformanceClaim
from harness.watch.base import Incident, IncidentKind, WatchReport

__all__ = ["EssentialPerformanceWatch"]

_MOST = 100


class EssentialPerformanceWatch:
    """Watches one essential-performance claim on an open bus."""

    def __init__(self, can: CanLink, *, claim_id: str, claim: EssentialPerformanceClaim, settled: bool = True) -> None:
        """Watch `claim` on `can`; `settled` says that the device was brought to a baseline that has settled."""
        self.name = f"essential performance {claim_id}"
        self.claim_id = claim_id
        self._claim = claim
        self._lock = threading.Lock()
        self._started = time.monotonic()
        self._last: float | None = None
        self._last_stamp: float | None = None
        self._samples = 0
        self._values: dict[str, float] = {}
        self._seen: dict[str, CanFrame] = {}
        self._outdated = False
        self._regime: tuple[bool, float] | None = None
        self._regime_since = self._started
        self._outside = False
        self._incidents: list[Incident] = []
        self._can = can
        self._settled = settled
        self._unsubscribe = can.subscribe(self._on_frame)

    def values(self) -> dict[str, float]:
        """Return the signal's fields as last seen."""
        with self._lock:
            return dict(self._values)

    def _on_frame(self, frame: CanFrame) -> None:
        if frame.error or frame.remote:
            return
        at = frame.at_ns / 1e9
        with self._lock:
            for name, field in self._claim.fields.items():
                value = field.decode(frame.data) if frame.word == field.word else None
                if value is not None:
                    self._values[name], self._seen[name] = value, frame
            if frame.word != self._claim.heartbeat:
                return
            if self._last is not None:
                self._gap(frame, _apart(self._last_stamp, frame.stamp, at - self._last))
            self._last, self._last_stamp = at, frame.stamp
            self._judge(frame)

    def _gap(self, frame: CanFrame, seconds: float) -> None:
        if seconds > self._claim.max_gap:
            # Who comes back after a gap may have restarted: he settles anew, and begins anew to send the rest.
            self._regime_since = frame.at_ns / 1e9
            self._seen = dict.fromkeys(self._seen, frame)
            self._missed(frame, "heartbeat", seconds=seconds, limit=self._claim.max_gap)

    def _missed(self, frame: CanFrame, what: str, *, seconds: float, limit: float) -> None:
        said = f"{seconds * 1000:.0f} ms without {what}, limit {limit * 1000:.0f} ms"
        self._note(Incident(IncidentKind.GAP, frame.at_ns / 1e9, said, span=seconds, limit=limit))

    def _judge(self, frame: CanFrame) -> None:
        at = frame.at_ns / 1e9
        values, claim = self._values, self._claim
        if not {claim.value, claim.target, *claim.applies_when} <= values.keys():
            return  # no sample: a heartbeat alone says nothing about what is watched
        applies = all(values[name] == wanted for name, wanted in claim.applies_when.items())
        watched = [*claim.applies_when, claim.target, claim.value] if applies else [*claim.applies_when]
        if self._out_of_date(frame, watched):
            return
        self._samples += 1
        if self._unreadable(at, watched):
            return
        regime = (applies, values[claim.target] if applies else 0.0)
        if regime != self._regime:
            first = self._regime is None and self._settled
            self._regime_since = at - claim.settle if first else at
            self._regime = regime
        if not applies or at - self._regime_since < claim.settle:
            self._outside = False
            return
        value, target = values[claim.value], values[claim.target]
        outside = abs(value - target) > abs(target) * claim.percent / 100
        if outside:
            said = f"{claim.value} {value:g} is not within {claim.percent:g} % of {claim.target} {target:g}"
            self._leave(at, said)
        self._outside = outside

    def _out_of_date(self, frame: CanFrame, names: list[str]) -> bool:
        """Note if one of these fields is no longer sent, though the heartbeat goes on."""
        before, self._outdated = self._outdated, False
        for name in names:
            seen, limit = self._seen[name], self._claim.fields[name].max_age or self._claim.max_gap
            age = _apart(seen.stamp, frame.stamp, (frame.at_ns - seen.at_ns) / 1e9)
            if age > limit:
                self._outdated = True
                if not before:
                    self._missed(frame, name, seconds=age, limit=limit)
                break
        return self._outdated

    def _unreadable(self, at: float, names: list[str]) -> bool:
        """Note if the device says of one of these fields what is no number: who cannot be read is not within limits."""
        unreadable = [name for name in names if not math.isfinite(self._values[name])]
        if unreadable:
            self._leave(at, f"{', '.join(unreadable)} cannot be read in its frame")
            self._outside = True
        return bool(unreadable)

    def _leave(self, at: float, detail: str) -> None:
        if not self._outside:
            self._note(Incident(IncidentKind.LIMIT, at, detail))

    def _note(self, incident: Incident) -> None:
        if len(self._incidents) < _MOST:
            self._incidents.append(incident)

    def report(self) -> WatchReport:
        """Return incidents so far; a heartbeat that has stopped is one, and makes the watch stale.

        A silence is judged when a loss of the link would have been noticed: until then it may be the bench's.
        """
        self._await_loss_or_heartbeat()
        now = time.monotonic()
        with self._lock:
            quiet = now - (self._last if self._last is not None else self._started)
            incidents = list(self._incidents)
            # On a lost link the silence is the bench's, not the device's.
            if quiet > self._claim.max_gap and self._can.lost is None:
                incidents.append(
                    Incident(
                        IncidentKind.GAP,
                        now,
                        f"no heartbeat for {quiet * 1000:.0f} ms, limit {self._claim.max_gap * 1000:.0f} ms",
                        span=quiet,
                        limit=self._claim.max_gap,
                    )
                )
            fresh = self._samples > 0 and quiet <= self._claim.max_gap
            return WatchReport(self.name, self.claim_id, self._samples, fresh=fresh, incidents=tuple(incidents))

    def _await_loss_or_heartbeat(self) -> None:
        tick = threading.Event()
        while self._can.lost is None:
            with self._lock:
                quiet = time.monotonic() - (self._last if self._last is not None else self._started)
            if not self._claim.max_gap < quiet < self._can.notices_loss_within:
                return
            tick.wait(0.02)

    def close(self) -> None:
        """Stop listening."""
        self._unsubscribe()


def _apart(before: float | None, now: float | None, arrived: float) -> float:
    """Return how far apart two frames were on the bus: by the adapter's clock where it has one that went on.

    What arrives late at the bench was not late on the bus.
    """
    if before is None or now is None or now < before:
        return arrived
    return now - before
