"""A vendor's own protocol of framed messages as a surface: log-in, requests, log-out, over a serial line or TCP.

On a line that all share only one session can be open: whoever logs in ends the one that is. Over TCP each session is a
connection of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, closing
from typing import TypeVar

from harness.device.answer import Answer
from harness.device.arguments import fitted
from harness.device.log_in import Entrance, LoggedOff, LogInSurface, Session
from harness.device.message_exchange import QUIET, Heard, MessageExchange
from harness.device.outcomes import Accepted, NoAnswer, Outcome, Refused, SessionRefused, Unintelligible
from harness.device.surface import Wiring
from harness.errors import UsageError
from harness.links.base import PeerClosed
from harness.links.stream import StreamLink
from harness.rig import device_file as spec_of
from harness.rig.templates import Scalar

__all__ = ["MessageEntrance", "MessageSession", "MessageSurface"]

TICK = 0.05
"""Uncertainty of an instant read from the bench's clock, seconds: scheduling of the reader."""

T = TypeVar("T")


class _Messenger:
    """Where messages go out and answers come in: a session, or the place before the log-in."""

    def __init__(self, surface: MessageSurface, stream: StreamLink | None = None, *, account: str = "") -> None:
        self.surface = surface
        self.account = account
        self._stream = stream
        # When the device saw the last input lies between these two instants.
        self._input_sent = self._input_answered = time.monotonic()
        self._since = stream.mark() if stream is not None else 0

    def message(self, action: str, *args: Scalar, **named: Scalar) -> bytes:
        """Return the whole message of a declared action without sending it, to change it and give it to `send`.

        Raises:
            UsageError: the device file declares no such action here, or the arguments do not fit it.
        """
        surface = self.surface
        spec = surface.spec.actions.get(action)
        if spec is None:
            raise UsageError(f"surface {surface.name} declares no action {action!r}", hint="add it to the device file")
        values = fitted(surface.name, action, spec, args=args, named=named)
        body = surface.exchange.filled(spec.send, {"account": self.account, **values})
        return surface.exchange.codec.frame(body)

    def send(self, message: bytes, *, action: str = "", operation: str = "") -> Outcome[Answer]:
        """Send any bytes as a message and judge the answer, as that of a declared action where one is given."""
        spec = self.surface.spec.actions.get(action)
        outcome = self._with_stream(lambda stream: self.surface.exchange.carry_out(stream, message, spec))
        self._unsure()
        self.surface.observe(operation or action or "message", outcome)
        return outcome

    def raw(self, message: bytes, *, within: float) -> Outcome[Heard]:
        """Send any bytes as a message, one of very many: it is not recorded as an operation, nor judged."""
        outcome = self._with_stream(
            lambda stream: self.surface.exchange.ask(stream, message, within=within, late=False)
        )
        self._unsure()
        return outcome

    @property
    def standing(self) -> bool:
        """Whether the next message goes where the last one went."""
        return self._stream is not None and self._stream.lost is None

    def send_line(self, line: str, *, operation: str = "text") -> Outcome[Answer]:
        """Send any text as a whole message."""
        exchange = self.surface.exchange
        return self.send(exchange.codec.frame(exchange.encoded(line)), operation=operation)

    def poke(self, data: bytes, *, send_break: bool = False, operation: str = "bytes") -> Outcome[bytes]:
        """Send raw bytes and the end of a message, or a break; accepted with all that came when it answers again.

        What shows that it does is the refusal of a message that does not exist. A connection may be closed by the
        device for it, if a new one is answered.
        """
        sent = data + self.surface.exchange.codec.close
        received = b""

        def attack(stream: StreamLink) -> Outcome[bytes]:
            nonlocal received
            mark, within = stream.mark(), self.surface.wiring.answer_within + len(sent) / 1000
            try:
                if send_break:
                    stream.send_break()
                stream.send(sent, timeout=within)
                stream.wait_quiet(QUIET, timeout=within)
            finally:
                received = stream.read_since(mark)
            return Accepted(received, sent=sent, received=received)

        outcome = self._with_stream(attack)
        self._unsure()
        if isinstance(outcome, Accepted) or not self.surface.one_session:
            back = self.ask_unknown()
            if isinstance(back, Refused):
                outcome = Accepted(received, sent=sent, received=received)
            elif isinstance(back, NoAnswer):
                outcome = NoAnswer("no answer any more", sent=sent, received=received)
            else:
                outcome = Unintelligible("a message that does not exist is not refused", received=received)
        self.surface.observe(operation, outcome)
        return outcome

    @property
    def can_break(self) -> bool:
        """Whether the link can send a break."""
        stream = self._open()
        return not isinstance(stream, NoAnswer) and stream.can_break

    def ask_unknown(self) -> Outcome[Answer]:
        """Send the declared message that must be refused."""
        exchange = self.surface.exchange
        message = exchange.codec.frame(exchange.filled(self.surface.spec.unknown_message, {"account": self.account}))
        return self._with_stream(lambda stream: exchange.carry_out(stream, message))

    def _unsure(self) -> None:
        """What was sent may have been a log-in: only outside a session this makes a difference."""

    def _with_stream(self, operation: Callable[[StreamLink], Outcome[T]]) -> Outcome[T]:
        """Carry out an operation. A connection the device closes is an outcome, a cable that goes away is not."""
        stream = self._open()
        if isinstance(stream, NoAnswer):
            return stream
        self._since = stream.mark()
        self._input_sent = time.monotonic()
        try:
            return operation(stream)
        except PeerClosed:
            if self.surface.one_session:
                raise
            return NoAnswer("the device closed the connection")
        finally:
            self._input_answered = time.monotonic()

    def _open(self) -> StreamLink | NoAnswer:
        if self._stream is not None and self._stream.lost is not None:
            self._give_back()
        if self._stream is None:
            stream = self.surface.wiring.open_stream(self.surface.spec.link)
            if isinstance(stream, NoAnswer):
                return stream
            self._stream = stream
        return self._stream

    def _give_back(self) -> None:
        if self._stream is not None:
            self.surface.wiring.close_stream(self.surface.spec.link, self._stream)
            self._stream = None


class MessageSession(_Messenger, Session):
    """One logged-in session. Made by `MessageSurface.log_in`; close it with `log_out` or `drop`."""

    def do(self, action: str, *args: Scalar, octets: bytes | None = None, **named: Scalar) -> Outcome[Answer]:
        """Carry out a declared action (`Session.do`)."""
        if octets is not None:
            raise UsageError(f"messages of {self.surface.name} carry no bytes of a testcase's own")
        return self.send(self.message(action, *args, **named), action=action)

    def unknown(self) -> Outcome[object]:
        """Send the declared message that must be refused."""
        outcome = self.ask_unknown()
        self.surface.observe("unknown message", outcome)
        return outcome

    def log_out(self) -> Outcome[None]:
        """End the session in the declared way."""
        outcome = self._with_stream(self.surface.leave)
        self.drop()
        self.surface.observe("log out", outcome)
        return outcome

    def drop(self) -> None:
        """Give the stream back without logging out, as a user who walks away."""
        self._give_back()

    def wait_logged_off(self, *, timeout: float) -> LoggedOff | None:
        """Wait for the message by which the device says that it logged the session off, counted from the last input.

        Raises:
            UsageError: the device file declares none; ask `over` when the time has passed.
        """
        if not self.surface.announces_log_off:
            raise UsageError(f"{self.surface.name} does not announce a log-off", hint="see announces_log_off")
        stream = self._open()
        if isinstance(stream, NoAnswer):
            return None
        exchange = self.surface.exchange
        left = max(0.0, self._input_answered + timeout - time.monotonic())
        try:
            heard = exchange.listen(stream, since=self._since, within=left, wanted=exchange.is_log_off)
        except PeerClosed:
            if self.surface.one_session:
                raise  # a serial server has gone, not the device
            return None
        if not isinstance(heard, Accepted):
            return None
        half = (self._input_answered - self._input_sent) / 2
        return LoggedOff(seconds=heard.value.at_ns / 1e9 - self._input_sent - half, uncertainty=half + TICK)

    def over(self, *, within: float) -> bool:
        """Ask for what needs a log-in and say whether it was refused for want of one; `answer_within` at least."""
        outcome = self.surface.ask_inside(self)
        ended = self.surface.ended(outcome)
        return isinstance(outcome, Refused) if ended is None else ended

    @property
    def standing(self) -> bool:
        """Whether the next message goes where the last one went, to the same session as far as the bench knows."""
        return super().standing and (not self.surface.one_session or self.surface.inside is self)

    def _open(self) -> StreamLink | NoAnswer:
        if self.surface.one_session and self.surface.inside not in (None, self):
            return NoAnswer("another log-in has taken the line")
        return super()._open()


class MessageSurface(LogInSurface):
    """A vendor's own protocol as the device file describes it."""

    def __init__(
        self, name: str, wiring: Wiring, *, spec: spec_of.MessageSurface, accounts: Mapping[str, spec_of.Account]
    ) -> None:
        super().__init__(name, wiring, spec=spec, accounts=accounts)
        self.spec = spec
        self.exchange = MessageExchange(spec, wiring)
        self.announces_log_off = bool(spec.login.logged_off_when)
        self.one_session = wiring.shared(spec.link)
        self.inside: MessageSession | None = None
        """Who is logged in, on a line that all share."""
        self._empty: StreamLink | None = None

    def log_in(self, account: str, password: str | None = None) -> Outcome[MessageSession]:
        """Log in; without `password` with the declared one. Refused says `refused`, `locked` or `full`."""
        return self.try_log_in(account, self.accounts[account].password if password is None else password)

    def try_log_in(self, user: str, password: str) -> Outcome[MessageSession]:
        """Log in with any user name and password; a PIN is sent without the name."""
        entrance = self.enter()
        try:
            return entrance.attempt(user, password)
        finally:
            entrance.close()

    def log_in_on(self, stream: StreamLink, user: str, password: str) -> Outcome[MessageSession]:
        """Try to log in on an open stream, which stays open whatever comes of it."""
        if self.one_session and self._empty is not stream:
            self.leave(stream)
        said = self.exchange.log_in(stream, user, password)
        if not isinstance(said, Accepted):
            if not isinstance(said, Refused):
                self._empty = None
            return said
        self._empty = None
        self.inside = MessageSession(self, stream, account=user)
        return Accepted(self.inside, sent=said.sent, received=said.received)

    def leave(self, stream: StreamLink) -> Outcome[None]:
        """Log out on a stream, whoever is logged in."""
        message = self.exchange.codec.frame(self.exchange.filled(self.spec.login.log_out, {}))
        said = self.exchange.carry_out(stream, message)
        self.inside = None
        # That nobody was logged in is a refusal, and as good.
        self._empty = stream if isinstance(said, Accepted | Refused) else None
        return Accepted(None, sent=said.sent, received=said.received) if isinstance(said, Accepted) else said

    def forget(self) -> None:
        """Log out before the next log-in, on a line that all share: nobody knows who is logged in."""
        self._empty = None

    def line_of(self, action: str) -> str:
        """Return the text of an action with its harmless arguments."""
        spec = self.spec.actions[action]
        return self.exchange.text(spec.send, {"account": "", **spec.args})

    def carries(self, line: str) -> bool:
        """Say whether a text can be sent in a message: nothing in it begins or ends one."""
        return not self.exchange.codec.delimits(line)

    def enter(self) -> MessageEntrance:
        """Stand before the log-in."""
        return MessageEntrance(self)

    def entrance(self) -> AbstractContextManager[MessageEntrance]:
        """Stand before the log-in for a block."""
        return closing(self.enter())

    def words(self, outcome: Outcome[object]) -> bytes:
        """Return what the device said, without the messages that it sends by itself."""
        return self.exchange.asked_for(outcome.received)

    def denied(self, outcome: Outcome[object]) -> bool | None:
        """Say whether a refusal is one for the role, if the device file tells how it looks."""
        return _is(outcome, "denied") if self.spec.denied_when else None

    def ended(self, outcome: Outcome[object]) -> bool | None:
        """Say whether a refusal is one for want of a log-in, if the device file tells how it looks."""
        return _is(outcome, "over") if self.spec.over_when else None


class MessageEntrance(_Messenger, Entrance):
    """Stands before the log-in. Many attempts share a connection as long as the device keeps it open."""

    def attempt(self, user: str, password: str | None = None) -> Outcome[MessageSession]:
        """Try to log in; without `password` with the declared one of the account `user`."""
        secret = self.surface.accounts[user].password if password is None else password
        outcome = self._with_stream(lambda stream: self.surface.log_in_on(stream, user, secret))
        if isinstance(outcome, Accepted):
            # The stream belongs to the session now, and goes with it.
            self._stream = None
        self.surface.observe(f"log in {user}", outcome)
        return outcome

    def do(self, action: str, *, octets: bytes | None = None, **named: Scalar) -> Outcome[Answer]:
        """Ask for a declared action without having logged in (`Entrance.do`)."""
        if octets is not None:
            raise UsageError(f"messages of {self.surface.name} carry no bytes of a testcase's own")
        return self.send(self.message(action, **named), action=action, operation=f"{action} before log-in")

    def say(self, line: str, *, operation: str = "text before log-in") -> Outcome[Answer]:
        """Send any text as a whole message, without having logged in."""
        return self.send_line(line, operation=operation)

    def close(self) -> None:
        """Give the stream back."""
        self._give_back()

    def _unsure(self) -> None:
        self.surface.forget()

    def _open(self) -> StreamLink | NoAnswer:
        stream = super()._open()
        if isinstance(stream, StreamLink) and self.surface.inside is not None and self.surface.one_session:
            # Somebody left a session open on the line that all share: this is not before the log-in.
            self.surface.leave(stream)
        return stream


def _is(outcome: Outcome[object], kind: str) -> bool:
    return isinstance(outcome, SessionRefused) and outcome.kind == kind
