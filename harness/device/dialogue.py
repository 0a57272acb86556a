"""A prompt dialogue as a surface: log-in, commands, log-off, over a serial console or an SSH shell."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Iterator, TypeVar

from harness.device.outcomes import Accepted, NoAnswer, Outcome, Refused, Unintelligible
from harness.device.surface import Clock, Surface, Wiring
from harness.device.values import Value
from harness.errors import UsageError
from harness.links.base import PeerClosed
from harness.links.stream import Match, StreamLink
from harness.rig import device_file as spec_of

__all__ = ["Answer", "DialogueSession", "DialogueSurface"]

#: Longest answer looked at, bytes: a hostile device may talk for ever.
ANSWER_LIMIT = 256 * 1024

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command answered: `name: value` lines in order, and the whole text between echo and prompt."""

    lines: tuple[tuple[str, str], ...]
    text: bytes

    def get(self, name: str) -> str | None:
        """Return the first value of that name."""
        return next((value for key, value in self.lines if key == name), None)

    def all(self, name: str) -> list[str]:
        """Return every value of that name, in order."""
        return [value for key, value in self.lines if key == name]


def _compile(pattern: str) -> re.Pattern[bytes]:
    return re.compile(pattern.encode())


class DialogueSession:
    """One logged-in session. Made by `DialogueSurface.log_in`; close it with `log_out` or `drop`."""

    def __init__(self, surface: DialogueSurface, stream: StreamLink, account: str) -> None:
        self.surface = surface
        self.account = account
        self._stream = stream
        self.last_input = time.monotonic()

    def do(self, action: str, *args: str) -> Outcome[Answer]:
        """Carry out a declared action with `args` (its declared harmless ones when none are given).

        Raises:
            UsageError: the device file declares no such action here.
        """
        spec = self.surface.spec.actions.get(action)
        if spec is None:
            raise UsageError(
                f"surface {self.surface.name} declares no action {action!r}", hint="add it to the device file"
            )
        return self.send_line(spec.send.format(*(args or spec.args)), operation=action)

    def send_line(self, line: str, *, operation: str = "line") -> Outcome[Answer]:
        """Send any line and wait for the prompt."""
        outcome = self.surface.exchange(self._stream, line.encode("utf-8", errors="surrogateescape"))
        self.last_input = time.monotonic()
        self.surface.observe(operation, outcome)
        return outcome

    def log_out(self) -> Outcome[None]:
        """End the session in the declared way and wait until it is over."""
        spec = self.surface.spec
        outcome = self.surface.leave(self._stream)
        self.wiring.close_stream(spec.link, self._stream)
        self.surface.observe("log out", outcome)
        return outcome

    def drop(self) -> None:
        """Give the stream back without logging out, as a user who walks away."""
        self.wiring.close_stream(self.surface.spec.link, self._stream)

    def wait_logged_off(self, *, timeout: float) -> float | None:
        """Wait for the device to log the session off by itself; return seconds since the last input, or None."""
        mark = self._stream.mark()
        pattern = _compile(self.surface.spec.login.logged_off_when)
        try:
            match = self._stream.expect(pattern, since=mark, timeout=timeout)
        except PeerClosed:
            return None
        return None if match is None else match.at_ns / 1e9 - self.last_input

    @property
    def wiring(self) -> Wiring:
        """The bench's side of this session's surface."""
        return self.surface.wiring


class DialogueSurface(Surface):
    """A prompt dialogue as the device file describes it."""

    def __init__(
        self, name: str, wiring: Wiring, *, spec: spec_of.DialogueSurface, accounts: dict[str, spec_of.Account]
    ) -> None:
        super().__init__(name, wiring)
        self.spec = spec
        self.accounts = {account: accounts[account] for account in spec.accounts}
        self._prompt = _compile(spec.prompt)
        self._user_prompt = _compile(spec.login.user_prompt)
        self._password_prompt = _compile(spec.login.password_prompt)
        self._line = _compile("(?m)" + spec.line)

    # Sessions

    def log_in(self, account: str, password: str | None = None) -> Outcome[DialogueSession]:
        """Log in; without `password` with the declared one. Refused says `refused` or `locked`."""
        secret = self.accounts[account].password if password is None else password
        return self.try_log_in(account, secret)

    def try_log_in(self, user: str, password: str) -> Outcome[DialogueSession]:
        """Log in with any user name and password."""
        stream = self.wiring.open_stream(self.spec.link)
        if isinstance(stream, NoAnswer):
            self._seen(f"log in {user}", stream)
            return stream
        outcome = self._guard(lambda: self._log_in(stream, user, password))
        if not isinstance(outcome, Accepted):
            self.wiring.close_stream(self.spec.link, stream)
        self._seen(f"log in {user}", outcome)
        return outcome

    @contextmanager
    def session(self, account: str | None = None) -> Iterator[Outcome[DialogueSession]]:
        """Open a session for a block and log out after it; yields the outcome of the log-in.

        Without `account` the declared accounts are tried in order until one is let in.
        """
        outcome: Outcome[DialogueSession] = NoAnswer("no account declared")
        for candidate in [account] if account else list(self.accounts):
            outcome = self.log_in(candidate)
            if not isinstance(outcome, Refused):
                break
        try:
            yield outcome
        finally:
            if isinstance(outcome, Accepted):
                outcome.value.log_out()

    # What every surface does

    def read(self, field: str) -> Outcome[Value]:
        """Log in, read the field, log out."""
        with self.session() as session:
            if not isinstance(session, Accepted):
                return session
            return self.read_in(session.value, field)

    def read_in(self, session: DialogueSession, field: str) -> Outcome[Value]:
        """Read a field in an open session."""
        codec = self.spec.fields.get(field)
        if codec is None:
            raise UsageError(f"surface {self.name} declares no field {field!r}", hint="add it to the device file")
        answer = session.do(codec.action)
        if not isinstance(answer, Accepted):
            return answer
        text = answer.value.get(codec.name)
        value: Value | None = text
        if text is not None and codec.scale is not None:
            value = float(text) * codec.scale if re.fullmatch(r"-?\d{1,15}(\.\d{1,9})?", text) else None
        if value is None:
            return Unintelligible(f"no {codec.name} in the answer", sent=answer.sent, received=answer.received)
        return Accepted(value, sent=answer.sent, received=answer.received)

    def contrast(self) -> Outcome[object]:
        """Log in and give a command that does not exist."""
        with self.session() as session:
            if not isinstance(session, Accepted):
                return Unintelligible("log-in was not accepted", sent=session.sent, received=session.received)
            return session.value.send_line(self.spec.unknown_command, operation="unknown command")

    def probe(self) -> Outcome[Clock]:
        """As every surface, in one session."""
        with self.session() as session:
            if not isinstance(session, Accepted):
                return session
            inside = session.value
            asked = time.monotonic()
            reading = self.read_in(inside, "uptime")
            answered = time.monotonic()
            if not isinstance(reading, Accepted):
                return reading
            contrast = inside.send_line(self.spec.unknown_command, operation="unknown command")
            if not isinstance(contrast, Refused) or not isinstance(reading.value, float):
                return Unintelligible("a command that does not exist was not refused", received=contrast.received)
            clock = Clock(uptime=reading.value, asked=asked, answered=answered)
            return Accepted(clock, sent=reading.sent, received=reading.received)

    # The dialogue itself

    def observe(self, operation: str, outcome: Outcome[object]) -> None:
        """Record an operation of a session."""
        self._seen(operation, outcome)

    def exchange(self, stream: StreamLink, line: bytes) -> Outcome[Answer]:
        """Send a line in a logged-in session and read up to the prompt."""
        return self._guard(lambda: self._exchange(stream, line))

    def leave(self, stream: StreamLink) -> Outcome[None]:
        """Log out and wait for the end of the session."""
        return self._guard(lambda: self._leave(stream))

    def at_log_in_prompt(self, stream: StreamLink) -> bool:
        """Wake the dialogue and say whether it stands at the log-in prompt (an open session is left first)."""
        mark = stream.mark()
        # A connection greets by itself; a console has to be woken.
        if self.spec.closes:
            return stream.expect(self._user_prompt, since=0, timeout=self.wiring.answer_within) is not None
        stream.send(self.spec.login.wake.encode())
        either = re.compile(b"|".join(p.pattern for p in (self._user_prompt, self._password_prompt, self._prompt)))
        found = stream.expect(either, since=mark, timeout=self.wiring.answer_within)
        if found is None:
            return False
        if self._user_prompt.search(found.data):
            return True
        if self._prompt.search(found.data):
            return isinstance(self._leave(stream), Accepted)
        stream.send(self.spec.login.wake.encode())
        return stream.expect(self._user_prompt, since=found.end, timeout=self.wiring.answer_within) is not None

    def _log_in(self, stream: StreamLink, user: str, password: str) -> Outcome[DialogueSession]:
        start = 0 if self.spec.closes else stream.mark()
        within = self.wiring.answer_within
        end = self.spec.line_end.encode()
        if not self.at_log_in_prompt(stream):
            return _nothing(stream.read_since(start), "no log-in prompt")
        mark = stream.mark()
        stream.send(user.encode("utf-8", errors="surrogateescape") + end)
        asked = stream.expect(self._password_prompt, since=mark, timeout=within)
        if asked is None:
            return _nothing(stream.read_since(mark), "no password prompt")
        mark = stream.mark()
        secret = password.encode("utf-8", errors="surrogateescape")
        stream.send(secret + end)
        login = self.spec.login
        both = re.compile(b"(?:%b)|(?:%b)" % (self.spec.prompt.encode(), login.user_prompt.encode()))
        try:
            settled = stream.expect(both, since=mark, timeout=within + 2)
        except PeerClosed:
            settled = None
        received = stream.read_since(mark)[:ANSWER_LIMIT]
        sent = user.encode(errors="surrogateescape") + end + secret + end
        verdicts = {
            name: _compile(pattern).search(received) is not None
            for name, pattern in (
                ("accepted", login.accepted_when),
                ("refused", login.refused_when),
                ("locked", login.locked_when),
            )
        }
        at_prompt = settled is not None and self._prompt.search(settled.data) is not None
        match [name for name, seen in verdicts.items() if seen]:
            case ["accepted"] if at_prompt:
                return Accepted(DialogueSession(self, stream, user), sent=sent, received=received)
            case [("refused" | "locked") as reason] if not at_prompt:
                return Refused(reason, sent=sent, received=received)
            case _:
                return replace(_nothing(received, "log-in neither accepted nor refused"), sent=sent)

    def _exchange(self, stream: StreamLink, line: bytes) -> Outcome[Answer]:
        mark = stream.mark()
        sent = line + self.spec.line_end.encode()
        stream.send(sent)
        found: Match | None = stream.expect(self._prompt, since=mark, timeout=self.wiring.answer_within)
        received = stream.read_since(mark)[:ANSWER_LIMIT]
        if found is None:
            return replace(_nothing(received, "no prompt after the command"), sent=sent)
        body = received.split(b"\n", 1)[1] if b"\n" in received else b""
        accepted = _compile(self.spec.accepted_when).search(body)
        refused = _compile(self.spec.refused_when).search(body)
        if accepted and not refused:
            lines = tuple(
                (match["name"].decode("latin-1"), match["value"].decode("utf-8", errors="backslashreplace"))
                for match in self._line.finditer(body)
            )
            return Accepted(Answer(lines=lines, text=body), sent=sent, received=received)
        if refused and not accepted:
            reason = refused.groupdict().get("reason") or b"refused"
            return Refused(reason.decode("utf-8", errors="backslashreplace"), sent=sent, received=received)
        return Unintelligible(sent=sent, received=received)

    def _leave(self, stream: StreamLink) -> Outcome[None]:
        mark = stream.mark()
        sent = (self.spec.login.log_out + self.spec.line_end).encode()
        try:
            stream.send(sent)
            if self.spec.closes:
                stream.expect(re.compile(rb"(?!)"), since=mark, timeout=self.wiring.answer_within)
                return NoAnswer("the connection stays open after log-out", sent=sent)
            found = stream.expect(self._user_prompt, since=mark, timeout=self.wiring.answer_within)
        except PeerClosed:
            if self.spec.closes:
                return Accepted(None, sent=sent, received=stream.read_since(mark))
            raise
        if found is None:
            return replace(_nothing(stream.read_since(mark), "no log-in prompt after log-out"), sent=sent)
        return Accepted(None, sent=sent, received=found.data)

    def _guard(self, operation: Callable[[], Outcome[T]]) -> Outcome[T]:
        """A connection the device closes is an outcome; a cable that goes away is a bench fault."""
        try:
            return operation()
        except PeerClosed:
            if self.spec.closes:
                return NoAnswer("the device closed the connection")
            raise


def _nothing(received: bytes, reason: str) -> NoAnswer | Unintelligible:
    if not received:
        return NoAnswer(reason)
    return Unintelligible(reason, received=received[:ANSWER_LIMIT])
