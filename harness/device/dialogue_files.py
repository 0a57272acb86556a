"""Files that go with the commands of a dialogue: over its own line, or beside it over SSH.

On the line the command comes first, then the file, then the device's words and the prompt. Over SSH an upload comes
before the command that uses it, a download after the command that makes it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar, cast

from harness.device.answer import Answer
from harness.device.conversation import ANSWER_LIMIT, Conversation, compiled, nothing
from harness.device.outcomes import Accepted, NoAnswer, Outcome, Refused, Unintelligible
from harness.device.surface import Wiring
from harness.errors import BenchFault
from harness.links.line_files import Carried, LineProtocol, receive_file, send_file
from harness.links.ssh import SshHostKeyMismatch, SshLink, SshNoConnection, SshRefused
from harness.links.ssh_files import SshProtocol, get_file, put_file
from harness.links.stream import StreamLink
from harness.links.transfer_values import TransferFailed
from harness.rig.device_file import Action
from harness.rig.file_transfer import Download, Upload
from harness.rig.templates import Scalar, filled

__all__ = ["DialogueFiles"]

T = TypeVar("T")

CANCELLING = b"\x18\x08"
"""CAN and the backspaces behind it: two CAN end a transfer, but more of both are sent (Forsberg, 4.1)."""


@dataclass(frozen=True, slots=True)
class _Order:
    """What is to be done: the command, and the file that goes with it."""

    transfer: Upload | Download
    line: bytes
    path: str
    file: bytes
    within: float | None

    @property
    def shown(self) -> bytes:
        """An upload for the record: by length and hash."""
        words = f"[{len(self.file)} bytes by {self.transfer.by}, SHA-256 {hashlib.sha256(self.file).hexdigest()}]"
        return words.encode() if isinstance(self.transfer, Upload) else b""


class DialogueFiles:
    """Commands of a dialogue with a file; `link` is the surface's own."""

    def __init__(self, conversation: Conversation, wiring: Wiring, *, link: str) -> None:
        self._talk = conversation
        self._wiring = wiring
        self._link = link

    def carry_out(
        self, stream: StreamLink, action: Action, *, values: Mapping[str, Scalar], octets: bytes | None
    ) -> Outcome[Answer]:
        """Carry out an action with a file; the text of the answer is the file of a download.

        `octets` is the file of an upload, the declared harmless one when it is left out.
        """
        transfer = action.transfer
        assert transfer is not None
        declared = transfer.octets.encode() if isinstance(transfer, Upload) else b""
        order = _Order(
            transfer=transfer,
            line=filled(action.send, values).encode("utf-8", errors="surrogateescape"),
            path=filled(transfer.path, values),
            file=declared if octets is None else octets,
            within=action.within,
        )
        if transfer.on_line:
            return self._talk.guard(lambda: self._on_line(stream, order))
        return self._beside(stream, order)

    # On the line

    def _on_line(self, stream: StreamLink, order: _Order) -> Outcome[Answer]:
        talk, transfer = self._talk, order.transfer
        mark = stream.mark()
        sent = order.line + talk.spec.line_end.encode()
        stream.send(sent)
        first = compiled(f"(?:{transfer.ready_when})|(?:{talk.spec.prompt})")
        found = stream.expect(first, since=mark, timeout=order.within or talk.within)
        said = stream.read_since(mark)[:ANSWER_LIMIT]
        if found is None:
            return replace(nothing(said, "not ready for the transfer"), sent=sent)
        if not compiled(transfer.ready_when).search(found.data):
            answer = talk.judged(said.partition(b"\n")[2], sent=sent, received=said)
            # Nothing was accepted without the file.
            return _unlike(answer, "accepted without the file") if isinstance(answer, Accepted) else answer
        by = cast(LineProtocol, transfer.by)
        if isinstance(transfer, Upload):
            name = order.path
            carried = send_file(stream, order.file, since=found.end, by=by, name=name, within=transfer.within)
        else:
            carried = receive_file(stream, since=found.end, by=by, most=transfer.most, within=transfer.within)
        return self._after(stream, order, carried=carried, sent=sent + order.shown)

    def _after(self, stream: StreamLink, order: _Order, *, carried: Carried, sent: bytes) -> Outcome[Answer]:
        """Read what the device says behind the file, up to its prompt."""
        talk, failed = self._talk, carried.failed
        found = talk.until_prompt(stream, carried.end, within=order.within)
        words = stream.read_since(carried.end)[:ANSWER_LIMIT]
        if failed is not None:
            said = words.lstrip(CANCELLING)
            answer = talk.judged(said, sent=sent, received=words) if found is not None else None
            # Only the device's own end of the transfer, with its reason, is a refusal: not that the bench gave up.
            if failed.kind == "cancelled" and isinstance(answer, Refused):
                return answer
            return replace(_failure(failed), sent=sent, received=words)
        if found is None:
            return replace(nothing(words, "no prompt after the transfer"), sent=sent)
        return _with_file(talk.judged(words, sent=sent, received=words), carried.data, order)

    # Beside it

    def _beside(self, stream: StreamLink, order: _Order) -> Outcome[Answer]:
        talk, transfer = self._talk, order.transfer
        by = cast(SshProtocol, transfer.by)
        if isinstance(transfer, Upload):
            put = self._connected(
                order, lambda link: put_file(link, order.file, order.path, by=by, within=transfer.within)
            )
            if put is not None:
                return replace(_failure(put), sent=order.shown)
            return talk.exchange(stream, order.line, within=order.within)
        made = talk.exchange(stream, order.line, within=order.within)
        if not isinstance(made, Accepted):
            return made
        most = transfer.most
        got = self._connected(order, lambda link: get_file(link, order.path, by=by, most=most, within=transfer.within))
        if isinstance(got, TransferFailed):
            return replace(_failure(got), sent=made.sent, received=made.received)
        return _with_file(made, got, order)

    def _connected(self, order: _Order, carry: Callable[[SshLink], T]) -> T | TransferFailed:
        """Carry a file over a connection of its own, made as the rig file says.

        Raises:
            BenchFault: another host key is shown than the pinned one.
        """
        name = order.transfer.link or self._link
        link = self._wiring.connect_ssh(name)
        match link:
            case SshNoConnection(reason=reason):
                return TransferFailed(f"no SSH connection: {reason}", "silent")
            case SshRefused(method=method):
                return TransferFailed(f"SSH {method} refused", "silent")
            case SshHostKeyMismatch():
                raise BenchFault(
                    f"link {name!r}: the SSH host key is not the pinned one",
                    hint="compare with links.….host_key in the rig file; another device may be answering",
                )
        try:
            return carry(link)
        finally:
            link.close()


def _failure(failed: TransferFailed) -> Refused | NoAnswer | Unintelligible:
    match failed.kind:
        case "refused":
            return Refused(failed.reason)
        case "silent":
            return NoAnswer(failed.reason)
    return Unintelligible(failed.reason)


def _with_file(answer: Outcome[Answer], file: bytes | None, order: _Order) -> Outcome[Answer]:
    """Return an accepted answer with the file of a download for its text."""
    if not isinstance(answer, Accepted) or file is None or isinstance(order.transfer, Upload):
        return answer
    return replace(answer, value=replace(answer.value, text=file))


def _unlike(answer: Accepted[Answer], reason: str) -> Unintelligible:
    return Unintelligible(reason, sent=answer.sent, received=answer.received)
