"""Surfaces on which people log in, whatever they are made of: what testcases may ask of every one of them."""

from __future__ import annotations

import re
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass

from harness.device.answer import Answer
from harness.device.outcomes import Accepted, NoAnswer, Outcome, Refused, Unintelligible
from harness.device.surface import Clock, Surface, Wiring
from harness.device.values import Value
from harness.errors import UsageError
from harness.rig import device_file as spec_of
from harness.rig.templates import Scalar

__all__ = ["Entrance", "LogInSurface", "LoggedOff", "Session"]


@dataclass(frozen=True, slots=True)
class LoggedOff:
    """A log-off by the device: seconds after the last input, and how exactly the bench knows."""

    seconds: float
    uncertainty: float


class Session(ABC):
    """One logged-in session. Made by `LogInSurface.log_in`; close it with `log_out` or `drop`."""

    account: str

    outlives_connection = False
    """Whether it goes on when its connection is closed, and can be ended over another one."""

    @abstractmethod
    def do(self, action: str, *args: Scalar, octets: bytes | None = None, **named: Scalar) -> Outcome[Answer]:
        """Carry out a declared action.

        Args:
            action: its name in the device file.
            args: arguments in the declared order; the declared harmless ones when none are given.
            octets: the body, for an action whose body is bytes.
            named: arguments by name, on surfaces that name them.

        Raises:
            UsageError: the device file declares no such action here, or the arguments do not fit it.
        """

    @abstractmethod
    def unknown(self) -> Outcome[object]:
        """Ask for something that does not exist."""

    @abstractmethod
    def log_out(self) -> Outcome[None]:
        """End the session in the declared way and wait until it is over."""

    @abstractmethod
    def drop(self) -> None:
        """Walk away without logging out."""

    @abstractmethod
    def wait_logged_off(self, *, timeout: float) -> LoggedOff | None:
        """Wait for the device to say that it has logged the session off, counted from the last input.

        None when it does not. Only on surfaces that say so (`LogInSurface.announces_log_off`).
        """

    @abstractmethod
    def over(self, *, within: float) -> bool:
        """Say whether the session is at its end. Over HTTP this is a request, which keeps a live session alive."""


class Entrance(ABC):
    """Where one stands before log-in. Many attempts share a connection as long as the device keeps it open."""

    @abstractmethod
    def attempt(self, user: str, password: str | None = None) -> Outcome[Session]:
        """Try to log in; without `password` with the declared one of the account `user`."""

    @abstractmethod
    def do(self, action: str, *, octets: bytes | None = None, **named: Scalar) -> Outcome[Answer]:
        """Ask for a declared action without having logged in; what is not given is harmless, as in `Session.do`."""

    @abstractmethod
    def close(self) -> None:
        """Give the connection back."""

    def visit(self, user: str) -> Outcome[Session]:
        """Log in with the declared password and out again; the outcome is the log-in's."""
        outcome = self.attempt(user)
        if isinstance(outcome, Accepted):
            outcome.value.log_out()
        return outcome


class LogInSurface(Surface):
    """A surface on which people log in."""

    announces_log_off = True
    """Whether the device says by itself that it has logged a session off."""

    one_session = False
    """Whether a log-in ends the session that is open: on a line that all share, without sessions by name."""

    def __init__(
        self, name: str, wiring: Wiring, *, spec: spec_of.LogInSurface, accounts: Mapping[str, spec_of.Account]
    ) -> None:
        super().__init__(name, wiring)
        self.declared = spec
        self.accounts = {account: accounts[account] for account in spec.accounts}
        self._left_open: list[Session] = []

    @property
    def actions(self) -> Mapping[str, spec_of.ActionBase]:
        """The declared actions: what they leave behind, what they change."""
        return self.declared.actions

    @property
    def fields(self) -> Mapping[str, spec_of.FieldCodec]:
        """The declared fields: with which action each is read."""
        return self.declared.fields

    @abstractmethod
    def try_log_in(self, user: str, password: str) -> Outcome[Session]:
        """Log in with any user name and password. Refused says `refused`, `locked` or `full`."""

    @abstractmethod
    def enter(self) -> Entrance:
        """Stand before the log-in; the caller closes it."""

    @abstractmethod
    def words(self, outcome: Outcome[object]) -> bytes:
        """Return what the device said, without what differs from answer to answer, for comparing two refusals."""

    @abstractmethod
    def denied(self, outcome: Outcome[object]) -> bool | None:
        """Say whether a refusal is one for the role; None where the surface cannot tell."""

    @abstractmethod
    def ended(self, outcome: Outcome[object]) -> bool | None:
        """Say whether a refusal is one for want of a log-in; None where the surface cannot tell."""

    def log_in(self, account: str, password: str | None = None) -> Outcome[Session]:
        """Log in; without `password` with the declared one. Refused as in `try_log_in`."""
        return self.try_log_in(account, self.accounts[account].password if password is None else password)

    @contextmanager
    def session(self, account: str | None = None) -> Iterator[Outcome[Session]]:
        """Open a session for a block and log out after it; yields the outcome of the log-in.

        What the log-out came to is not said; one that the device did not answer can be made up for (`end_left_open`).

        Without `account` the declared accounts are tried in order until one is let in.
        """
        outcome: Outcome[Session] = NoAnswer("no account declared")
        for candidate in [account] if account else list(self.accounts):
            outcome = self.log_in(candidate)
            if not isinstance(outcome, Refused):
                break
        try:
            yield outcome
        finally:
            if isinstance(outcome, Accepted) and not _ended(outcome.value) and outcome.value.outlives_connection:
                self._left_open.append(outcome.value)

    def end_left_open(self) -> int:
        """Log the sessions out that `session` could not, as the device did not answer; return how many it could not.

        Only those that outlive their connection: a line's session ends with the next log-in on the line.
        """
        self._left_open = [session for session in self._left_open if not _ended(session)]
        return len(self._left_open)

    def entrance(self) -> AbstractContextManager[Entrance]:
        """Stand before the log-in for a block."""
        return closing(self.enter())

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

    def read_in(self, session: Session, field: str) -> Outcome[Value]:
        """Read a field in an open session (`decoded`)."""
        codec = self.fields.get(field)
        if codec is None:
            raise UsageError(f"surface {self.name} declares no field {field!r}", hint="add it to the device file")
        answer = session.do(codec.action)
        return self.decoded(field, answer) if isinstance(answer, Accepted) else answer

    @property
    def inside_action(self) -> str:
        """The action that tells whether somebody is logged in: that of the uptime, unless anybody may do it.

        Raises:
            UsageError: nothing that only reads needs a log-in.
        """
        clock = self.fields["uptime"].action if "uptime" in self.fields else ""
        closed = [
            name
            for name, each in self.actions.items()
            if each.ready and not each.open and not each.effects and not each.declined
        ]
        found = clock if clock in closed else next(iter(closed), "")
        if not found:
            raise UsageError(f"surface {self.name}: no action that only reads needs a log-in", hint="declare one")
        return found

    def ask_inside(self, session: Session) -> Outcome[Answer]:
        """Ask in a session for what needs a log-in: an answer, also one that the role may not, shows it is open."""
        return session.do(self.inside_action)

    def decoded(self, field: str, answer: Accepted[Answer]) -> Outcome[Value]:
        """Return a field as it stands in the answer to its action; several values of its name are joined by commas."""
        codec = self.fields[field]
        texts = answer.value.all(codec.name)
        value: Value | None = ", ".join(texts) if texts else None
        if isinstance(value, str) and codec.scale is not None:
            value = float(value) * codec.scale if re.fullmatch(r"-?\d{1,15}(\.\d{1,9})?", value) else None
        if value is None:
            return Unintelligible(f"no {codec.name} in the answer", sent=answer.sent, received=answer.received)
        return Accepted(value, sent=answer.sent, received=answer.received)

    def contrast(self) -> Outcome[object]:
        """Log in and ask for something that does not exist."""
        with self.session() as session:
            if not isinstance(session, Accepted):
                return Unintelligible("log-in was not accepted", sent=session.sent, received=session.received)
            return session.value.unknown()

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
            contrast = inside.unknown()
            if not isinstance(contrast, Refused) or not isinstance(reading.value, float):
                return Unintelligible("what does not exist was not refused", received=contrast.received)
            clock = Clock(uptime=reading.value, asked=asked, answered=answered)
            return Accepted(clock, sent=reading.sent, received=reading.received)

    def observe(self, operation: str, outcome: Outcome[object]) -> None:
        """Record an operation of a session."""
        self._seen(operation, outcome)


def _ended(session: Session) -> bool:
    """Log out; whether the device said that the session is over, or that there is none."""
    return isinstance(session.log_out(), Accepted | Refused)
