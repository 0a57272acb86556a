"""The conversation of a prompt dialogue on an open stream: what is sent, what is waited for, what it came to.

It knows the device file's patterns and deadlines; it opens no stream and keeps no session.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from harness.device.answer import Answer
from harness.device.outcomes import Accepted, NoAnswer, Outcome, Refused, Unintelligible
from harness.links.base import PeerClosed
from harness.links.stream import Match, StreamLink
from harness.rig import device_file as spec_of

__all__ = ["ANSWER_LIMIT", "Conversation", "compiled", "nothing"]

#: Longest answer looked at, bytes: a hostile device may talk for ever.
ANSWER_LIMIT = 256 * 1024
#: A long answer may take this many times `answer_within`, as long as bytes keep coming: 115200 baud is slow.
LONG_ANSWER = 5
#: Seconds without a byte after which what was provoked by a flood counts as over.
QUIET = 0.15

T = TypeVar("T")


def compiled(pattern: str) -> re.Pattern[bytes]:
    """Return a pattern of the device file for bytes."""
    return re.compile(pattern.encode())


class Conversation:
    """The dialogue as the device file describes it; every wait ends after `within` seconds of silence."""

    def __init__(self, spec: spec_of.DialogueSurface, *, within: float) -> None:
        self.spec = spec
        self.within = within
        self.prompt = compiled(spec.prompt)
        self.user_prompt = compiled(spec.login.user_prompt)
        self.password_prompt = compiled(spec.login.password_prompt)
        self._any_prompt = re.compile(
            b"|".join(p.pattern for p in (self.user_prompt, self.password_prompt, self.prompt))
        )
        self._line = compiled("(?m)" + spec.line)
        self._owed: tuple[StreamLink, int] | None = None

    def log_in(self, stream: StreamLink, user: str, password: str) -> Outcome[None]:
        """Log in with any user name and password; refused says `refused` or `locked`."""
        return self.guard(lambda: self._log_in(stream, user, password))

    def exchange(self, stream: StreamLink, line: bytes, *, within: float | None = None) -> Outcome[Answer]:
        """Send a line in a logged-in session and read up to the prompt; the device may pause for `within` seconds."""
        return self.guard(lambda: self._exchange(stream, line, within))

    def leave(self, stream: StreamLink) -> Outcome[None]:
        """Log out and wait for the end of the session."""
        return self.guard(lambda: self._leave(stream))

    def poke(self, stream: StreamLink, data: bytes, *, send_break: bool, inside: bool) -> Outcome[bytes]:
        """Send raw bytes or a break, let what they provoke come to rest, and look for the prompt that must stand.

        `inside`: the session's prompt; else the log-in prompt.
        """
        return self.guard(lambda: self._poke(stream, data, send_break=send_break, inside=inside))

    def say(self, stream: StreamLink, line: bytes) -> Outcome[Answer]:
        """Give a line at the log-in prompt as if it were a command, and come back to the log-in prompt.

        Refused when the device took it for a user name, or said no; accepted when it carried it out.
        """
        return self.guard(lambda: self._say(stream, line))

    def at_log_in_prompt(self, stream: StreamLink) -> bool:
        """Wake the dialogue and say whether it stands at the log-in prompt (an open session is left first)."""
        wake = self.spec.login.wake.encode()
        # A connection greets by itself; a console has to be woken.
        found = stream.expect(self._any_prompt, since=0, timeout=self.within) if self.spec.closes else None
        if found is None:
            mark = stream.mark()
            stream.send(wake)
            found = stream.expect(self._any_prompt, since=mark, timeout=self.within)
        if found is None:
            return False
        if self.user_prompt.search(found.data):
            return True
        if self.prompt.search(found.data):
            return not self.spec.closes and isinstance(self._leave(stream), Accepted)
        stream.send(wake)
        return stream.expect(self.user_prompt, since=found.end, timeout=self.within) is not None

    def _poke(self, stream: StreamLink, data: bytes, *, send_break: bool, inside: bool) -> Outcome[bytes]:
        mark = stream.mark()
        if send_break:
            stream.send_break()
        stream.send(data, timeout=self.within + len(data) / 1000)
        stream.wait_quiet(QUIET, timeout=self.within + len(data) / 1000)
        if inside:
            after = stream.mark()
            stream.send(self.spec.line_end.encode())
            back = stream.expect(self.prompt, since=after, timeout=self.within) is not None
        else:
            back = self.at_log_in_prompt(stream)
        received = stream.read_since(mark)[:ANSWER_LIMIT]
        if not back:
            return replace(nothing(received, "the prompt does not come back"), sent=data)
        return Accepted(received, sent=data, received=received)

    def _say(self, stream: StreamLink, line: bytes) -> Outcome[Answer]:
        if not self.at_log_in_prompt(stream):
            return NoAnswer("no log-in prompt")
        mark = stream.mark()
        sent = line + self.spec.line_end.encode()
        stream.send(sent)
        found = stream.expect(self._any_prompt, since=mark, timeout=self.within)
        if found is not None and self.password_prompt.search(found.data):
            stream.send(self.spec.login.wake.encode())
            found = stream.expect(self.user_prompt, since=found.end, timeout=self.within)
        received = stream.read_since(mark)[:ANSWER_LIMIT]
        if found is None:
            return replace(nothing(received, "no prompt after the line"), sent=sent)
        body = received.split(b"\n", 1)[1] if b"\n" in received else b""
        if self.prompt.search(received) or compiled(self.spec.accepted_when).search(body):
            return Accepted(Answer(lines=self._lines(body), text=body), sent=sent, received=received)
        return Refused("still at the log-in prompt", sent=sent, received=received)

    def _lines(self, body: bytes) -> tuple[tuple[str, str], ...]:
        return tuple(
            (match["name"].decode("latin-1"), match["value"].decode("utf-8", errors="backslashreplace"))
            for match in self._line.finditer(body)
        )

    def until_prompt(self, stream: StreamLink, mark: int, *, within: float | None = None) -> Match | None:
        """Wait for the prompt as long as the answer keeps coming, with pauses of at most `within` seconds."""
        pause = within or self.within
        end = time.monotonic() + max(pause, self.within * LONG_ANSWER)
        while True:
            before = stream.mark()
            found = stream.expect(self.prompt, since=mark, timeout=pause)
            if found is not None or stream.mark() == before or time.monotonic() > end:
                return found

    def _log_in(self, stream: StreamLink, user: str, password: str) -> Outcome[None]:
        start = 0 if self.spec.closes else stream.mark()
        end = self.spec.line_end.encode()
        if not self.at_log_in_prompt(stream):
            return nothing(stream.read_since(start), "no log-in prompt")
        mark = stream.mark()
        stream.send(user.encode("utf-8", errors="surrogateescape") + end)
        asked = stream.expect(self.password_prompt, since=mark, timeout=self.within)
        if asked is None:
            return nothing(stream.read_since(mark), "no password prompt")
        mark = stream.mark()
        secret = password.encode("utf-8", errors="surrogateescape")
        stream.send(secret + end)
        login = self.spec.login
        both = re.compile(b"(?:%b)|(?:%b)" % (self.spec.prompt.encode(), login.user_prompt.encode()))
        try:
            settled = stream.expect(both, since=mark, timeout=self.within + 2)
        except PeerClosed:
            if not self.spec.closes:
                raise
            settled = None
        received = stream.read_since(mark)[:ANSWER_LIMIT]
        sent = user.encode(errors="surrogateescape") + end + secret + end
        verdicts = {
            name: compiled(pattern).search(received) is not None
            for name, pattern in (
                ("accepted", login.accepted_when),
                ("refused", login.refused_when),
                ("locked", login.locked_when),
            )
        }
        at_prompt = settled is not None and self.prompt.search(settled.data) is not None
        match [name for name, seen in verdicts.items() if seen]:
            case ["accepted"] if at_prompt:
                return Accepted(None, sent=sent, received=received)
            case [("refused" | "locked") as reason] if not at_prompt:
                return Refused(reason, sent=sent, received=received)
            case _:
                return replace(nothing(received, "log-in neither accepted nor refused"), sent=sent)

    def _exchange(self, stream: StreamLink, line: bytes, within: float | None) -> Outcome[Answer]:
        in_step = self._in_step(stream)
        mark = stream.mark()
        sent = line + self.spec.line_end.encode()
        stream.send(sent)
        found = self.until_prompt(stream, mark, within=within)
        received = stream.read_since(mark)[:ANSWER_LIMIT]
        if found is None:
            self._owed = stream, mark
            return replace(nothing(received, "no prompt after the command"), sent=sent)
        if not in_step and line not in received.split(b"\n", 1)[0]:
            self._owed = stream, found.end
            return Unintelligible("perhaps the late answer to an earlier command", sent=sent, received=received)
        body = received.split(b"\n", 1)[1] if b"\n" in received else b""
        return self.judged(body, sent=sent, received=received)

    def judged(self, body: bytes, *, sent: bytes, received: bytes) -> Outcome[Answer]:
        """Say what an answer means; `body` is what stands between echo and prompt."""
        accepted = compiled(self.spec.accepted_when).search(body)
        refused = compiled(self.spec.refused_when).search(body)
        if accepted and not refused:
            return Accepted(Answer(lines=self._lines(body), text=body), sent=sent, received=received)
        if refused and not accepted:
            reason = refused.groupdict().get("reason") or b"refused"
            return Refused(reason.decode("utf-8", errors="backslashreplace"), sent=sent, received=received)
        return Unintelligible(sent=sent, received=received)

    def _in_step(self, stream: StreamLink) -> bool:
        """Let an answer come that an earlier command still owes; False when it may come yet, as on a link that lags."""
        if self._owed is None or self._owed[0] is not stream:
            return True
        late = stream.expect(self._any_prompt, since=self._owed[1], timeout=self.within)
        self._owed = None
        if late is not None:
            stream.wait_quiet(QUIET, timeout=self.within)
        return late is not None

    def _leave(self, stream: StreamLink) -> Outcome[None]:
        mark = stream.mark()
        sent = (self.spec.login.log_out + self.spec.line_end).encode()
        try:
            stream.send(sent)
            if self.spec.closes:
                stream.expect(re.compile(rb"(?!)"), since=mark, timeout=self.within)
                return NoAnswer("the connection stays open after log-out", sent=sent)
            found = stream.expect(self.user_prompt, since=mark, timeout=self.within)
        except PeerClosed:
            if self.spec.closes:
                return Accepted(None, sent=sent, received=stream.read_since(mark))
            raise
        if found is None:
            return replace(nothing(stream.read_since(mark), "no log-in prompt after log-out"), sent=sent)
        return Accepted(None, sent=sent, received=found.data)

    def guard(self, operation: Callable[[], Outcome[T]]) -> Outcome[T]:
        """A connection the device closes is an outcome; a cable that goes away is a bench fault."""
        try:
            return operation()
        except PeerClosed:
            if self.spec.closes:
                return NoAnswer("the device closed the connection")
            raise


def nothing(received: bytes, reason: str) -> NoAnswer | Unintelligible:
    """Return what waiting in vain came to: silence, or something that is no answer."""
    if not received:
        return NoAnswer(reason)
    return Unintelligible(reason, received=received[:ANSWER_LIMIT])
