"""A prompt dialogue as a surface: log-in, commands, log-off, over a serial console or an SSH shell."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from harness.device.conversation import Answer, Conversation, compiled
from harness.device.outcomes import Accepted, NoAnswer, Outcome, Refused, Unintelligible
from harness.device.surface import Clock, Surface, Wiring
from harness.device.values import Value
from harness.errors import UsageError
from harness.links.base import PeerClosed
from harness.links.stream import StreamLink
from harness.rig import device_file as spec_of

__all__ = ["Answer", "DialogueSession", "DialogueSurface", "LoggedOff"]

#: Uncertainty of an instant read from the bench's clock, seconds: scheduling of the reader.
TICK = 0.05


@dataclass(frozen=True, slots=True)
class LoggedOff:
    """A log-off by the device: seconds after the last input, and how exactly the bench knows."""

    seconds: float
    uncertainty: float


class DialogueSession:
    """One logged-in session. Made by `DialogueSurface.log_in`; close it with `log_out` or `drop`."""

    def __init__(self, surface: DialogueSurface, stream: StreamLink, account: str) -> None:
        self.surface = surface
        self.account = account
        self._stream = stream
        self._since = stream.mark()
        # When the device saw the last input lies between these two instants.
        self._input_sent = self._input_answered = time.monotonic()

    @property
    def stream(self) -> StreamLink:
        """The stream under the session, for input that is no command line."""
        return self._stream

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
        return self.send_bytes(line.encode("utf-8", errors="surrogateescape"), operation=operation)

    def send_bytes(self, line: bytes, *, operation: str = "bytes") -> Outcome[Answer]:
        """Send any bytes as a line and wait for the prompt."""
        self._since = self._stream.mark()
        self._input_sent = time.monotonic()
        outcome = self.surface.conversation.exchange(self._stream, line)
        self._input_answered = time.monotonic()
        self.surface.observe(operation, outcome)
        return outcome

    def poke(self, data: bytes, *, send_break: bool = False, operation: str = "bytes") -> Outcome[bytes]:
        """Send raw bytes, or a break, without waiting for an answer; then end the line and look for the prompt.

        Accepted with all that came when the session's prompt stands again.
        """
        outcome = self.surface.conversation.poke(self._stream, data, send_break=send_break, inside=True)
        self._input_sent = self._input_answered = time.monotonic()
        self.surface.observe(operation, outcome)
        return outcome

    @property
    def can_break(self) -> bool:
        """Whether the link can send a break."""
        return self._stream.can_break

    def log_out(self) -> Outcome[None]:
        """End the session in the declared way and wait until it is over."""
        spec = self.surface.spec
        outcome = self.surface.conversation.leave(self._stream)
        self.wiring.close_stream(spec.link, self._stream)
        self.surface.observe("log out", outcome)
        return outcome

    def drop(self) -> None:
        """Give the stream back without logging out, as a user who walks away."""
        self.wiring.close_stream(self.surface.spec.link, self._stream)

    def wait_logged_off(self, *, timeout: float) -> LoggedOff | None:
        """Wait for the device to log the session off by itself, counted from the last input; None when it does not."""
        pattern = compiled(self.surface.spec.login.logged_off_when)
        left = max(0.0, self._input_answered + timeout - time.monotonic())
        try:
            match = self._stream.expect(pattern, since=self._since, timeout=left)
        except PeerClosed:
            match = None
        if match is None:
            return None
        half = (self._input_answered - self._input_sent) / 2
        return LoggedOff(seconds=match.at_ns / 1e9 - self._input_sent - half, uncertainty=half + TICK)

    def over(self, *, within: float) -> bool:
        """Say whether the session is at its end: the log-in prompt stands, or the connection is closed."""
        try:
            match = self._stream.expect(self.surface.conversation.user_prompt, since=self._since, timeout=within)
        except PeerClosed:
            return self.surface.spec.closes
        return match is not None and not self.surface.spec.closes

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
        self.conversation = Conversation(spec, within=wiring.answer_within)

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
        outcome = self.log_in_on(stream, user, password)
        if not isinstance(outcome, Accepted):
            self.wiring.close_stream(self.spec.link, stream)
        return outcome

    def log_in_on(self, stream: StreamLink, user: str, password: str) -> Outcome[DialogueSession]:
        """Try to log in on an open stream, which stays open whatever comes of it."""
        said = self.conversation.log_in(stream, user, password)
        outcome: Outcome[DialogueSession]
        if isinstance(said, Accepted):
            outcome = Accepted(DialogueSession(self, stream, user), sent=said.sent, received=said.received)
        else:
            outcome = said
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

    def read_all(self, fields: Sequence[str]) -> Outcome[dict[str, Value]]:
        """Read several fields in one session."""
        with self.session() as session:
            if not isinstance(session, Accepted):
                return session
            values: dict[str, Value] = {}
            for field in fields:
                reading = self.read_in(session.value, field)
                if not isinstance(reading, Accepted):
                    return reading
                values[field] = reading.value
            return Accepted(values, sent=session.sent, received=session.received)

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

    def observe(self, operation: str, outcome: Outcome[object]) -> None:
        """Record an operation of a session."""
        self._seen(operation, outcome)
