"""The exchange of messages on an open stream: a request framed and sent, its answer found, and what that means.

It knows the device file's framing, templates and patterns; it opens no stream and keeps no session.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from harness.device.answer import Answer
from harness.device.framing import Codec
from harness.device.http_values import fill, octets_of
from harness.device.outcomes import Accepted, NoAnswer, Outcome, Refused, SessionRefused, Unintelligible
from harness.device.surface import Wiring
from harness.links.base import Deadline
from harness.links.stream import StreamLink
from harness.rig import message_surface as spec_of
from harness.rig.templates import Scalar

__all__ = ["Heard", "MessageExchange"]

LOG_IN_EXTRA = 2.0
"""Seconds a log-in may take longer than other requests: hashing a password takes its time on purpose."""
LONG_ANSWER = 5
"""An answer may take this many times as long as long as bytes keep coming: 9600 baud is slow."""
LISTENED = 64 * 1024
"""Bytes looked at for one answer, those of messages nobody asked for included."""
QUIET = 0.15
"""Seconds without a byte after which what was provoked counts as over."""
_ANY = re.compile(rb"(?s).")


@dataclass(frozen=True, slots=True)
class Heard:
    """A whole message from the device: its text, the offset behind its last byte, and when that came.

    `parts` are the messages of the same answer before it.
    """

    text: str
    end: int
    at_ns: int
    parts: tuple[str, ...] = ()


class MessageExchange:
    """Requests and answers as the device file describes them."""

    def __init__(self, spec: spec_of.MessageSurface, wiring: Wiring) -> None:
        self._spec = spec
        self._wiring = wiring
        self._owed: tuple[StreamLink, int] | None = None
        self.codec = Codec(spec.framing)

    def filled(self, template: str, values: Mapping[str, Scalar]) -> bytes:
        """Return a template filled in, as bytes."""
        return self.encoded(self.text(template, values))

    def text(self, template: str, values: Mapping[str, Scalar]) -> str:
        """Return a template filled in."""
        return str(fill(template, {"serial": self._wiring.unit_serial, **values}))

    def encoded(self, text: str) -> bytes:
        """Return a text in the charset; what that does not have goes out as UTF-8."""
        try:
            return text.encode(self._spec.framing.charset)
        except UnicodeEncodeError:
            return octets_of(text)

    def log_in(self, stream: StreamLink, user: str, password: str) -> Outcome[None]:
        """Try to log in; refused says `refused`, `locked` or `full`."""
        login = self._spec.login
        body = self.filled(login.send, {"account": user, "password": password})
        got = self.ask(stream, self.codec.frame(body), within=self._wiring.answer_within + LOG_IN_EXTRA)
        if not isinstance(got, Accepted):
            return got
        patterns = {
            "accepted": login.accepted_when, "locked": login.locked_when, "full": login.full_when,
            "refused": login.refused_when,
        }  # fmt: skip
        match [name for name, pattern in patterns.items() if _whole(pattern, got.value.text)]:
            case ["accepted"]:
                return Accepted(None, sent=got.sent, received=got.received)
            case [("refused" | "locked" | "full") as why]:
                return Refused(why, sent=got.sent, received=got.received)
        return Unintelligible("log-in neither accepted nor refused", sent=got.sent, received=got.received)

    def carry_out(
        self, stream: StreamLink, message: bytes, action: spec_of.MessageAction | None = None
    ) -> Outcome[Answer]:
        """Send a whole message and judge the answer as that of an action."""
        within = (action.within if action else None) or self._wiring.answer_within
        got = self.ask(stream, message, within=within)
        return self.judge(got, action) if isinstance(got, Accepted) else got

    def ask(self, stream: StreamLink, message: bytes, *, within: float, late: bool = True) -> Outcome[Heard]:
        """Send a whole message; accepted with the one answer to it.

        Args:
            stream: where it goes.
            message: with its delimiters and checksum, right or wrong.
            within: seconds of silence until there is no answer.
            late: wait as long, before, for an answer that the message before still owes.
        """
        if self._owed is not None and self._owed[0] is stream:
            # An answer that is still on its way would be taken for the next one's.
            if late:
                self.listen(stream, since=self._owed[1], within=within)
            stream.wait_quiet(QUIET, timeout=within)
        mark = stream.mark()
        self._owed = stream, mark
        takes = len(message) / 1000  # on a line of 9600 baud; whoever takes it for the bench may take it all at once
        stream.send(message, timeout=self._wiring.answer_within + takes)
        got = self.listen(stream, since=mark, within=within + takes)
        if isinstance(got, Accepted):
            behind = self._next(stream, got.value.end)
            if isinstance(behind, Heard | Unintelligible):
                received = stream.read_since(mark)[:LISTENED]
                return Unintelligible("more than one answer", sent=message, received=received)
            self._owed = None
            parts = self._parts(stream, mark, until=got.value.end)
            return Accepted(replace(got.value, parts=parts), sent=message, received=got.received)
        return replace(got, sent=message)

    def listen(
        self,
        stream: StreamLink,
        *,
        since: int,
        within: float,
        wanted: Callable[[str], bool] | None = None,
    ) -> Outcome[Heard]:
        """Wait for the next message from offset `since` on that is `wanted`: without it, one that is an answer."""
        wanted = wanted or self._is_answer
        end, position, seen = Deadline(within * LONG_ANSWER), since, since
        silence = Deadline(within)
        while True:
            arrived = stream.mark()
            heard = self._next(stream, position, wanted=wanted, final=silence.passed)
            received = stream.read_since(since)[:LISTENED]
            if isinstance(heard, Heard):
                return Accepted(heard, received=received)
            if isinstance(heard, Unintelligible):
                return replace(heard, received=received)
            # What the device says by itself is silence; a message that has begun, or a part of the answer, is none.
            begun = self.codec.begun(stream.read_since(heard)[:LISTENED])
            if arrived > seen and (begun or self._parts(stream, position, until=heard)):
                silence = Deadline(within)
            position, seen = heard, arrived
            if arrived - since > LISTENED:
                return Unintelligible(f"{LISTENED} bytes and no answer", received=received)
            if silence.passed or end.passed:
                return Unintelligible("no whole message", received=received) if begun else NoAnswer()
            stream.read_at_least(arrived - since + 1, since=since, timeout=min(silence.remaining, end.remaining))

    def _parts(self, stream: StreamLink, position: int, *, until: int) -> tuple[str, ...]:
        """Return the messages between two offsets that are parts of an answer."""
        parts: list[str] = []
        while self._spec.part and position < until:
            heard = self._next(stream, position, wanted=self._is_part)
            if not isinstance(heard, Heard) or heard.end > until:
                break
            parts.append(heard.text)
            position = heard.end
        return tuple(parts)

    def judge(self, got: Accepted[Heard], action: spec_of.MessageAction | None) -> Outcome[Answer]:
        """Say what an answer means, and take its values out of it."""
        spec, text = self._spec, got.value.text
        accepted = _whole((action.accepted_when if action else "") or spec.accepted_when, text)
        refused = _whole(spec.refused_when, text)
        if refused and not accepted:
            kind: Literal["refused", "denied", "over"] = "refused"
            if _whole(spec.over_when, text):
                kind = "over"
            elif _whole(spec.denied_when, text):
                kind = "denied"
            reason = refused.groupdict().get("reason") or "refused"
            return SessionRefused(reason, sent=got.sent, received=got.received, kind=kind)
        if refused or not accepted:
            return Unintelligible(sent=got.sent, received=got.received)
        matches = [*(_whole(spec.part, part) for part in got.value.parts), accepted]
        lines = [
            (name, value) for each in matches if each for name, value in each.groupdict().items() if value is not None
        ]
        said = [*got.value.parts, text]
        if spec.values:
            lines += [
                (each["name"] or "", each["value"] or "") for one in said for each in re.finditer(spec.values, one)
            ]
        answer = Answer(lines=tuple(lines), text="\n".join(said).encode(spec.framing.charset))
        return Accepted(answer, sent=got.sent, received=got.received)

    def asked_for(self, received: bytes) -> bytes:
        """Return the whole messages in some bytes, and what stands between them, without those sent unasked.

        Bytes without any message are returned as they are.
        """
        kept, position = b"", 0
        while found := self.codec.first(received[position:], final=True):
            between, message = received[position:][: found.begin], received[position:][found.begin : found.used]
            own = not found.fault and self._of_itself(found.body.decode(self._spec.framing.charset, errors="replace"))
            # Some send a line end behind each message, which stands before the next one.
            kept += (between if self.codec.begun(between) else b"") + (b"" if own else message)
            position += found.used
        return kept if position else received

    def is_log_off(self, text: str) -> bool:
        """Say whether a message is the one by which the device says that it logged a session off."""
        return _whole(self._spec.login.logged_off_when, text) is not None

    def _is_answer(self, text: str) -> bool:
        return not self._of_itself(text) and not self._is_part(text)

    def _of_itself(self, text: str) -> bool:
        return self.is_log_off(text) or _whole(self._spec.unasked, text) is not None

    def _is_part(self, text: str) -> bool:
        return _whole(self._spec.part, text) is not None

    def _next(
        self,
        stream: StreamLink,
        position: int,
        *,
        wanted: Callable[[str], bool] | None = None,
        final: bool = False,
    ) -> Heard | Unintelligible | int:
        """Return the first wanted message that is there whole from `position` on; else where to look again."""
        wanted = wanted or self._is_answer
        while True:
            data = stream.read_since(position)[:LISTENED]
            found = self.codec.first(data, final=final)
            if found is None:
                return position
            if found.fault:
                return Unintelligible(found.fault)
            position += found.used
            try:
                text = found.body.decode(self._spec.framing.charset)
            except UnicodeDecodeError:
                return Unintelligible(f"a message that is not {self._spec.framing.charset}")
            if wanted(text):
                last = stream.expect(_ANY, since=position - 1, timeout=0)
                return Heard(text, end=position, at_ns=last.at_ns if last else 0)


def _whole(pattern: str, text: str) -> re.Match[str] | None:
    """Match a pattern of the device file with a whole text; an empty one is none."""
    return re.fullmatch(pattern, text) if pattern else None
