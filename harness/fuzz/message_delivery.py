"""Fuzz cases for a surface of messages: texts framed with the right checksum, before the log-in and in a session."""

from __future__ import annotations

import time

from harness.bench import Bench
from harness.device.messages import MessageEntrance, MessageSession, MessageSurface
from harness.device.outcomes import Accepted, NoAnswer, Outcome
from harness.fuzz.cases import FuzzCase
from harness.fuzz.delivery import Pace, Reply
from harness.fuzz.models import LOG_IN

__all__ = ["MessageDelivery"]


class MessageDelivery:
    """Sends texts in whole messages: framing errors end at the first layer, and have testcases of their own."""

    default_cases = 200

    def __init__(self, bench: Bench, surface: MessageSurface) -> None:
        self._surface = surface
        self._pace = Pace(bench.wiring.answer_within)
        self._at: MessageSession | MessageEntrance | None = None

    def send(self, case: FuzzCase) -> Reply:
        """Reach the state the case is meant for and send it as a message."""
        place = self._reach(case.state)
        if place is None:
            return Reply.UNREACHED
        started = time.monotonic()
        allowance = len(case.data) * 0.001
        exchange = self._surface.exchange
        got = place.raw(exchange.codec.frame(case.data), within=self._pace.timeout + allowance)
        outcome: Outcome[object] = exchange.judge(got, None) if isinstance(got, Accepted) else got
        if isinstance(outcome, NoAnswer):
            closed = not place.standing
            if not self._surface.one_session:
                self.close()  # the device may wait for more bytes: the next case would only be the rest of this one
            return Reply.CLOSED if closed else Reply.SILENT
        self._pace.answered(max(0.0, time.monotonic() - started - allowance))
        if self._ended(outcome):
            self.close()
        return Reply.ANSWERED

    def close(self) -> None:
        """Leave the session; connections of its own are closed."""
        if isinstance(self._at, MessageSession):
            self._at.log_out()
        elif self._at is not None:
            self._at.close()
        self._at = None

    def _ended(self, outcome: Outcome[object]) -> bool:
        """Whether the session is over, or one was opened, so that the next case needs another."""
        if isinstance(self._at, MessageSession):
            return bool(self._surface.ended(outcome))
        return isinstance(outcome, Accepted)

    def _reach(self, state: str) -> MessageSession | MessageEntrance | None:
        if self._at is not None and self._at.standing and (self._at.account or LOG_IN) == state:
            return self._at
        self.close()
        if state == LOG_IN:
            self._at = self._surface.enter()
            return self._at
        outcome = self._surface.log_in(state)
        self._at = outcome.value if isinstance(outcome, Accepted) else None
        return self._at
