"""Fuzz cases for a dialogue: lines at the log-in prompt, at the password prompt, and in a session."""

from __future__ import annotations

import re
import threading
import time

from harness.bench import Bench
from harness.device.dialogue import DialogueSession, DialogueSurface
from harness.device.outcomes import Accepted, NoAnswer
from harness.fuzz.cases import FuzzCase
from harness.fuzz.delivery import Pace, Reply
from harness.fuzz.models import LOG_IN, NOBODY, PASSWORD
from harness.links.base import Deadline, PeerClosed
from harness.links.stream import StreamLink

__all__ = ["DialogueDelivery"]

_UNKNOWN = ""


class DialogueDelivery:
    """Sends lines; after each one it looks at which prompt the device stands."""

    QUIET = 0.03
    """Seconds without output that end the answer to input of several lines."""
    SAMPLES = 3
    """Samples of each watched signal between two changes of the therapy."""

    def __init__(self, bench: Bench, surface: DialogueSurface) -> None:
        self._surface = surface
        self._bench = bench
        self._wiring = bench.wiring
        self._within = bench.wiring.answer_within
        self._pace = Pace(self._within)
        self._session: DialogueSession | None = None
        self._stream: StreamLink | None = None
        self._at = _UNKNOWN
        spec = surface.spec
        self.default_cases = 120 if spec.closes else 200
        self._end = spec.line_end.encode()
        self._prompts = {
            LOG_IN: re.compile(spec.login.user_prompt.encode()),
            PASSWORD: re.compile(spec.login.password_prompt.encode()),
            "session": re.compile(spec.prompt.encode()),
        }
        self._accepted = re.compile(spec.accepted_when.encode())
        self._moving = [action.send.split()[0].encode() for action in spec.actions.values() if action.effects]
        self._any = re.compile(b"|".join(b"(?:%b)" % prompt.pattern for prompt in self._prompts.values()))

    def send(self, case: FuzzCase) -> Reply:
        """Reach the prompt the case is meant for and send it as a line."""
        try:
            if not self._reach(case.state):
                return Reply.UNREACHED
        except PeerClosed:
            if not self._surface.spec.closes:
                raise
            self.close()
            return Reply.UNREACHED
        try:
            return self._line(case.data, timeout=self._pace.timeout + len(case.data) * 0.0003)
        except PeerClosed:
            if not self._surface.spec.closes:
                raise
            self.close()
            return Reply.CLOSED

    def close(self) -> None:
        """Leave the session; connections of its own are closed."""
        if self._session is not None and self._at not in (_UNKNOWN, LOG_IN, PASSWORD):
            self._session.log_out()
        elif self._stream is not None:
            self._wiring.close_stream(self._surface.spec.link, self._stream)
        self._session, self._stream, self._at = None, None, _UNKNOWN

    def _line(self, data: bytes, *, timeout: float) -> Reply:
        stream = self._stream
        assert stream is not None
        mark = stream.mark()
        started = time.monotonic()
        stream.send(data + self._end, timeout=self._within)
        found = stream.expect(self._any, since=mark, timeout=timeout)
        if found is None:
            self._at = _UNKNOWN
            return Reply.SILENT
        self._pace.answered(time.monotonic() - started)
        if any(byte in data for byte in b"\r\n\x03\x04"):
            stream.wait_quiet(self.QUIET, self._within)
        received = stream.read_since(mark)
        self._at = self._prompt_in(received)
        if self._accepted.search(received) and any(word in data for word in self._moving):
            self._let_watches_see()
        return Reply.ANSWERED

    def _let_watches_see(self) -> None:
        """Wait for a few samples after a command that may change what is watched.

        Changed there and back between two samples, a target looks constant, and a signal that followed it looks wrong.
        """
        seen = [watch.report().samples + self.SAMPLES for watch in self._bench.watches if watch.report().claim]
        deadline, tick = Deadline(self._within), threading.Event()
        while not deadline.passed:
            now = [watch.report().samples for watch in self._bench.watches if watch.report().claim]
            if all(count >= wanted for count, wanted in zip(now, seen, strict=False)):
                return
            tick.wait(0.02)

    def _prompt_in(self, received: bytes) -> str:
        """Return where the device stands, by the end of what it wrote."""
        tail = received[-200:]
        for name, prompt in self._prompts.items():
            if prompt.search(tail):
                return name if name != "session" else self._session.account if self._session else _UNKNOWN
        return _UNKNOWN

    def _reach(self, state: str) -> bool:
        if self._at == state and self._stream is not None:
            return True
        if state not in (LOG_IN, PASSWORD):
            return self._log_in(state)
        if self._at not in (LOG_IN, PASSWORD) and not self._to_log_in():
            return False
        if self._at == PASSWORD and state == LOG_IN:
            self._line(NOBODY.encode(), timeout=self._within)
        if self._at == LOG_IN and state == PASSWORD:
            self._line(NOBODY.encode(), timeout=self._within)
        return self._at == state

    def _log_in(self, account: str) -> bool:
        self.close()
        outcome = self._surface.log_in(account)
        if not isinstance(outcome, Accepted):
            return False
        self._session = outcome.value
        self._stream = outcome.value.stream
        self._at = account
        return True

    def _to_log_in(self) -> bool:
        self.close()
        stream = self._wiring.open_stream(self._surface.spec.link)
        if isinstance(stream, NoAnswer):
            return False
        self._stream = stream
        if not self._surface.conversation.at_log_in_prompt(stream):
            return False
        self._at = LOG_IN
        return True
