"""An alarm in the hand of a testcase: raised on one surface, looked for wherever it is claimed to be shown."""

from __future__ import annotations

import time
from dataclasses import dataclass
from threading import Event

from harness.case import Case
from harness.device.log_in import LogInSurface, Session
from harness.device.outcomes import Accepted, NoAnswer, Outcome, name_of
from harness.device.values import Value
from harness.procedures.acting import permitted
from harness.rig.claims import AlarmClaim, AlarmPlace, EssentialPerformanceClaim
from harness.verdict import Undecided
from harness.watch import EssentialPerformanceWatch

__all__ = ["Alarms", "Sighting"]

_TICK = 0.02
"""Seconds between two looks at every place."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """What a place showed: the seconds until the wanted value, None if it never was, and how exactly that is known."""

    place: str
    took: float | None
    uncertainty: float
    last: str
    readable: bool


class Alarms:
    """The claimed alarm of the device of a testcase, raised on one surface. Its sessions end with `close`."""

    def __init__(self, case: Case, claim_id: str, surface: str) -> None:
        self.case = case
        self.id = claim_id
        self.claim = case.bench.rig.device.claims_of(AlarmClaim)[claim_id]
        self.surface = surface
        self._sessions: dict[str, Session] = {}
        self._tick = Event()

    def close(self) -> None:
        """Log out everywhere."""
        while self._sessions:
            self._sessions.popitem()[1].log_out()

    def expect_quiet(self) -> None:
        """Nothing is shown, and the therapy that must go on is there: a control of the procedure, in fresh sessions.

        Raises:
            Undecided: a place already shows something, or the therapy does not run.
        """
        self.close()
        for place in self.claim.shown:
            value = self.case.value(self._read(place), _name(place))
            if _text(value) != place.quiet:
                raise Undecided(f"{_name(place)} reads {_text(value)} before the alarm, not {place.quiet}")
        if self.claim.performance and not self._therapy():
            raise Undecided("the therapy that must go on does not run")

    def provoke(self) -> list[Sighting]:
        """Raise the alarm and look for it everywhere, until it is shown or the claimed time is over.

        Raises:
            Undecided: it is not accepted.
        """
        return self._until(self.claim.action, "raised", within=self.claim.within)

    def end(self) -> list[Sighting]:
        """End the alarm in the declared way, or wait for its end by itself, and look for that everywhere.

        Raises:
            Undecided: it is not accepted.
        """
        return self._until(self.claim.acknowledge, "quiet", within=(self.claim.lasts or 0.0) + self.claim.within)

    def expect(self, title: str, sightings: list[Sighting], *, within: float | None = None) -> bool:
        """It was seen in time in every place, and the therapy goes on."""
        high = self.claim.within if within is None else within
        held = [self._judge(title, sighting, high) for sighting in sightings]
        if self.claim.performance:
            goes_on = self._therapy()
            held.append(
                self.case.check(f"therapy, {title}", held=goes_on, expected="goes on",
                                observed="goes on" if goes_on else self._performance().values(), claim=self.id)
            )  # fmt: skip
        return all(held)

    def expect_end(self, title: str) -> bool:
        """The alarm ends in every place, in time."""
        return self.expect(title, self.end(), within=(self.claim.lasts or 0.0) + self.claim.within)

    def _judge(self, title: str, sighting: Sighting, high: float) -> bool:
        what = f"{sighting.place}, {title}"
        if sighting.took is None and not sighting.readable:
            return self.case.check(what, held=None, expected=f"within {high:g} s", observed=sighting.last)
        return self.case.timing(what, measured=sighting.took, low=0, high=high, uncertainty=sighting.uncertainty,
                                claim=self.id)  # fmt: skip

    def _until(self, action: str, wanted: str, *, within: float) -> list[Sighting]:
        asked = time.monotonic()
        if action:
            self.case.value(self._session(self.surface).do(action), action)
        told = time.monotonic()
        # Between these instants it was not seen yet: since then it may have been there.
        unseen = {_name(place): asked for place in self.claim.shown}
        found: dict[str, Sighting] = {}
        while len(found) < len(self.claim.shown):
            for place in self.claim.shown:
                name = _name(place)
                if name in found:
                    continue
                begun = time.monotonic()
                outcome = self._read(place)
                ended = time.monotonic()
                seen = isinstance(outcome, Accepted) and _text(outcome.value) == getattr(place, wanted)
                last = _text(outcome.value) if isinstance(outcome, Accepted) else name_of(outcome)
                if seen:
                    low, high = max(0.0, unseen[name] - told), ended - asked
                    found[name] = Sighting(name, (low + high) / 2, (high - low) / 2, last, readable=True)
                elif begun > told + within:
                    found[name] = Sighting(name, None, 0.0, last, readable=isinstance(outcome, Accepted))
                else:
                    unseen[name] = begun
            self._tick.wait(_TICK)
        return list(found.values())

    def _read(self, place: AlarmPlace) -> Outcome[Value]:
        if not place.surface:
            values = self._performance().values()
            return Accepted(values[place.field]) if place.field in values else NoAnswer(f"no {place.field} on the bus")
        door = self.case.bench.surface(place.surface)
        if not isinstance(door, LogInSurface):
            return door.read(place.field)
        outcome = door.read_in(self._session(place.surface), place.field)
        if door.ended(outcome):
            self._sessions.pop(place.surface).drop()
            outcome = door.read_in(self._session(place.surface), place.field)
        return outcome

    def _session(self, surface: str) -> Session:
        """Return the open session on a surface: of who may raise the alarm, else of who may read it."""
        if surface not in self._sessions:
            door = self.case.bench.log_in_surface(surface)
            able = permitted(self.case, surface, self.claim.action) if surface in self.claim.surfaces else []
            account = (able or list(door.accounts))[0]
            self._sessions[surface] = self.case.value(door.log_in(account), f"log-in of {account} on {surface}")
        return self._sessions[surface]

    def _therapy(self) -> bool:
        """Whether the essential performance applies: its limits are watched all the time."""
        claim = self.case.bench.rig.device.claims_of(EssentialPerformanceClaim)[self.claim.performance]
        values = self._performance().values()
        return all(values.get(name) == wanted for name, wanted in claim.applies_when.items())

    def _performance(self) -> EssentialPerformanceWatch:
        for watch in self.case.bench.watches:
            if isinstance(watch, EssentialPerformanceWatch) and watch.claim_id == self.claim.performance:
                return watch
        raise Undecided(f"nothing watches {self.claim.performance or 'the essential performance'}")


def _name(place: AlarmPlace) -> str:
    return f"{place.field} on {place.surface or 'the bus'}"


def _text(value: Value) -> str:
    return f"{value:g}" if isinstance(value, float) else value
