"""The entrance of a dialogue: its log-in prompt, over one connection for as long as the device keeps it open."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from harness.device.conversation import Answer
from harness.device.dialogue import DialogueSession, DialogueSurface
from harness.device.outcomes import Accepted, NoAnswer, Outcome
from harness.links.stream import StreamLink

__all__ = ["Entrance", "entrance"]


class Entrance:
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

    def visit(self, user: str) -> Outcome[DialogueSession]:
        """Log in with the declared password and out again; the outcome is the log-in's."""
        outcome = self.attempt(user)
        if isinstance(outcome, Accepted):
            outcome.value.log_out()
        return outcome

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


@contextmanager
def entrance(surface: DialogueSurface) -> Iterator[Entrance]:
    """Stand at the log-in prompt of a surface for a block."""
    opened = Entrance(surface)
    try:
        yield opened
    finally:
        opened.close()
