"""A prompt dialogue as a surface: log-in, commands, log-off, over a serial console or an SSH shell."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, closing

from harness.device.answer import Answer
from harness.device.arguments import fitted
from harness.device.conversation import Conversation, compiled
from harness.device.dialogue_files import DialogueFiles
from harness.device.log_in import Entrance, LoggedOff, LogInSurface, Session
from harness.device.outcomes import Accepted, NoAnswer, Outcome
from harness.device.surface import Wiring
from harness.errors import UsageError
from harness.links.base import PeerClosed
from harness.links.stream import StreamLink
from harness.rig import device_file as spec_of
from harness.rig.templates import Scalar, filled

__all__ = ["DialogueEntrance", "DialogueSession", "DialogueSurface"]

#: Uncertainty of an instant read from the bench's clock, seconds: scheduling of the reader.
TICK = 0.05


class DialogueSession(Session):
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

    def do(self, action: str, *args: Scalar, octets: bytes | None = None, **named: Scalar) -> Outcome[Answer]:
        """Carry out a declared action with `args` (its declared harmless ones when none are given).

        Raises:
            UsageError: the device file declares no such action here, or a dialogue cannot carry it out.
        """
        surface = self.surface
        spec = surface.spec.actions.get(action)
        if spec is None:
            raise UsageError(f"surface {surface.name} declares no action {action!r}", hint="add it to the device file")
        values = fitted(surface.name, action, spec, args=args, named=named)
        if octets is not None and spec.upload is None:
            raise UsageError(f"action {action} of {surface.name} takes no file", hint="declare `upload`")
        if spec.transfer is None:
            line = filled(spec.send, values).encode("utf-8", errors="surrogateescape")
            return self._input(action, lambda: surface.conversation.exchange(self._stream, line, within=spec.within))
        files = surface.files
        return self._input(action, lambda: files.carry_out(self._stream, spec, values=values, octets=octets))

    def unknown(self) -> Outcome[object]:
        """Give a command that does not exist."""
        return self.send_line(self.surface.spec.unknown_command, operation="unknown command")

    def send_line(self, line: str, *, operation: str = "line") -> Outcome[Answer]:
        """Send any line and wait for the prompt."""
        return self.send_bytes(line.encode("utf-8", errors="surrogateescape"), operation=operation)

    def send_bytes(self, line: bytes, *, operation: str = "bytes") -> Outcome[Answer]:
        """Send any bytes as a line and wait for the prompt."""
        return self._input(operation, lambda: self.surface.conversation.exchange(self._stream, line))

    def _input(self, operation: str, ask: Callable[[], Outcome[Answer]]) -> Outcome[Answer]:
        self._since = self._stream.mark()
        self._input_sent = time.monotonic()
        outcome = ask()
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
            if not self.surface.spec.closes:
                raise  # a serial server has gone, not the device
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
            if not self.surface.spec.closes:
                raise
            return True
        return match is not None and not self.surface.spec.closes

    @property
    def wiring(self) -> Wiring:
        """The bench's side of this session's surface."""
        return self.surface.wiring


class DialogueSurface(LogInSurface):
    """A prompt dialogue as the device file describes it."""

    def __init__(
        self, name: str, wiring: Wiring, *, spec: spec_of.DialogueSurface, accounts: Mapping[str, spec_of.Account]
    ) -> None:
        super().__init__(name, wiring, spec=spec, accounts=accounts)
        self.spec = spec
        self.conversation = Conversation(spec, within=wiring.answer_within)
        self.files = DialogueFiles(self.conversation, wiring, link=spec.link)

    def log_in(self, account: str, password: str | None = None) -> Outcome[DialogueSession]:
        """Log in; without `password` with the declared one. Refused says `refused` or `locked`."""
        return self.try_log_in(account, self.accounts[account].password if password is None else password)

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

    def line_of(self, action: str, **named: Scalar) -> str:
        """Return the line of an action with its harmless arguments, but for those given."""
        spec = self.spec.actions[action]
        return filled(spec.send, {**spec.harmless, **named})

    def carries(self, line: str) -> bool:
        """Say whether a text can be given as a line."""
        return not any(end in line for end in "\r\n")

    def enter(self) -> DialogueEntrance:
        """Stand at the log-in prompt."""
        return DialogueEntrance(self)

    def entrance(self) -> AbstractContextManager[DialogueEntrance]:
        """Stand at the log-in prompt for a block."""
        return closing(self.enter())

    def words(self, outcome: Outcome[object]) -> bytes:
        """Return everything the device said."""
        return outcome.received

    def denied(self, outcome: Outcome[object]) -> bool | None:
        """A dialogue declares one kind of refusal."""
        return None

    def ended(self, outcome: Outcome[object]) -> bool | None:
        """A dialogue declares one kind of refusal."""
        return None


class DialogueEntrance(Entrance):
    """Stands at the log-in prompt. Many attempts share a connection; one the device closed is made anew."""

    def __init__(self, surface: DialogueSurface) -> None:
        self.surface = surface
        self._stream: StreamLink | None = None

    def attempt(self, user: str, password: str | None = None) -> Outcome[DialogueSession]:
        """Try to log in; without `password` with the declared one of the account `user`."""
        secret = self.surface.accounts[user].password if password is None else password
        stream = self._open()
        if isinstance(stream, NoAnswer):
            self.surface.observe(f"log in {user}", stream)
            return stream
        outcome = self.surface.log_in_on(stream, user, secret)
        if isinstance(outcome, Accepted):
            # The stream belongs to the session now, and goes with it.
            self._stream = None
        return outcome

    def do(self, action: str, *, octets: bytes | None = None, **named: Scalar) -> Outcome[Answer]:
        """Give an action's command at the log-in prompt; a file stays where it is, as the command must be refused."""
        return self.say(self.surface.line_of(action, **named), operation=f"{action} before log-in")

    def say(self, line: str, *, operation: str = "line before log-in") -> Outcome[Answer]:
        """Give a line at the log-in prompt as if it were a command."""
        stream = self._open()
        outcome = stream if isinstance(stream, NoAnswer) else self.surface.conversation.say(stream, line.encode())
        self.surface.observe(operation, outcome)
        return outcome

    def poke(self, data: bytes, *, send_break: bool = False, operation: str = "bytes") -> Outcome[bytes]:
        """Send raw bytes or a break; accepted with all that came when the log-in prompt stands again.

        A connection may be closed by the device for it, if a new one gets the prompt.
        """
        stream = self._open()
        if isinstance(stream, NoAnswer):
            outcome: Outcome[bytes] = stream
        else:
            outcome = self.surface.conversation.poke(stream, data, send_break=send_break, inside=False)
            if not isinstance(outcome, Accepted) and self.surface.spec.closes and stream.lost is not None:
                received = stream.read_since(0)
                again = self._open()
                if not isinstance(again, NoAnswer) and self.surface.conversation.at_log_in_prompt(again):
                    outcome = Accepted(received, sent=data, received=received)
        self.surface.observe(operation, outcome)
        return outcome

    @property
    def can_break(self) -> bool:
        """Whether the link can send a break."""
        stream = self._open()
        return not isinstance(stream, NoAnswer) and stream.can_break

    def close(self) -> None:
        """Give the stream back."""
        if self._stream is not None:
            self.surface.wiring.close_stream(self.surface.spec.link, self._stream)
            self._stream = None

    def _open(self) -> StreamLink | NoAnswer:
        if self._stream is not None and self._stream.lost is not None:
            self.close()
        if self._stream is None:
            stream = self.surface.wiring.open_stream(self.surface.spec.link)
            if isinstance(stream, NoAnswer):
                return stream
            self._stream = stream
        return self._stream
