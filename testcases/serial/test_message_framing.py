"""Damaged messages of a vendor's own protocol are not carried out; the same message undamaged is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from harness.case import Case
from harness.device.framing import Codec
from harness.device.messages import MessageSession, MessageSurface
from harness.device.outcomes import Accepted, NoAnswer, Outcome, Refused, name_of
from harness.rig.claims import FramingClaim
from harness.rig.device_file import DeviceFile
from harness.rig.rig_file import Effect
from harness.testcase import About, Instance, contributes, each, testcase, verifies

TAGS = [
    verifies("NMPA-2022/IF-EDX", "NMPA-2022/TXIG", "NMPA-2020/IFU-iface", "FDA-VC/VULN-ABUSE", "ANSM-2019/CRIT-I"),
    contributes("NMPA-2022/RPT-2.3-PRIV", "FDA-A1/D"),
]
CONTROL = {"NUL": b"\x00", "EOT": b"\x04", "backspace": b"\x08", "escape": b"\x1b", "delete": b"\x7f"}
"""Bytes that edit, end or steer elsewhere and have no place in a text."""


def claiming(*damages: str) -> Callable[[DeviceFile], Iterable[Instance]]:
    """Return a source of `claim_id, surface`: claims about framing that speak of one of these damages."""

    def source(device: DeviceFile) -> Iterator[Instance]:
        for claim_id, claim in device.claims_of(FramingClaim).items():
            if set(damages) & {*claim.refused, *claim.ignored}:
                for surface in claim.surfaces:
                    yield Instance(surface, (claim_id, surface))

    return source


@testcase(
    "MESSAGE-CHECKSUM",
    title="A message with a wrong checksum is not carried out, its twin with the right one is",
    tags=TAGS,
    about=About(property="integrity", phase="design", method="penetration", threat="disturbed or altered messages"),
    effects=[Effect.CONFIGURATION],
)
@each("claim_id, surface", claiming("checksum"))
def test_checksum(case: Case, claim_id: str, surface: str) -> None:
    case.attack(surface, "messages with wrong checksums")
    damaged(case, claim_id, case.bench.messages(surface), {"checksum": wrong_checksums})


@testcase(
    "MESSAGE-FRAMING",
    title="Truncated and oversized messages, and control bytes in a message, are not carried out and do no harm",
    tags=TAGS,
    about=About(property="integrity", phase="design", method="fuzz", threat="malformed messages"),
    effects=[Effect.CONFIGURATION],
    unqualified=True,
)
@each("claim_id, surface", claiming("truncated", "oversized", "control"))
def test_framing(case: Case, claim_id: str, surface: str) -> None:
    case.attack(surface, "truncated and oversized messages, control bytes")
    kinds = {"truncated": truncated, "oversized": oversized, "control": control_bytes}
    damaged(case, claim_id, case.bench.messages(surface), kinds)


Damaging = Callable[[Codec, bytes], Iterable[tuple[str, bytes]]]
"""Makes damaged messages of a good text, each with what is wrong with it."""


def damaged(case: Case, claim_id: str, door: MessageSurface, kinds: dict[str, Damaging]) -> None:
    """Send every damaged form of the claimed action, then the action itself; it must show on the state only then."""
    claim = case.bench.rig.device.claims_of(FramingClaim)[claim_id]
    spec, codec = door.spec.actions[claim.action], door.exchange.codec
    with door.session(claim.account) as opened:
        session = case.value(opened, f"log-in of {claim.account}")
        right = session.message(claim.action)
        text = right[len(codec.start) : len(right) - len(codec.frame(b"")) + len(codec.start)]
        before = case.value(door.read_in(session, spec.changes), spec.changes)
        for kind, damage in kinds.items():
            if kind not in (*claim.refused, *claim.ignored):
                continue
            for title, message in damage(codec, text):
                with case.step(title):
                    outcome = session.send(message, action=claim.action, operation=title)
                    judge(case, claim_id, title, outcome, refused=kind in claim.refused)
                    if kind == "truncated" and not codec.begins_anew:
                        # Else the next message would only be the rest of this one.
                        session.send(codec.close, operation="the end of what was begun")
                    now = door.read_in(session, spec.changes)
                    case.expect_accepted(f"{spec.changes} is read after {title}", now, claim=claim_id)
                    if not isinstance(now, Accepted):
                        return
                    case.unchanged(f"{spec.changes} after {title}", before=before, after=now.value, claim=claim_id)
                    if now.value != before:
                        return
        twin(case, door, session, claim.action, before=before)


def judge(case: Case, claim_id: str, title: str, outcome: Outcome[object], *, refused: bool) -> None:
    """Check a damaged message: refused or left without an answer, as claimed; silence is no refusal."""
    if refused:
        case.expect_refused(title, outcome, claim=claim_id)
        return
    held = True if isinstance(outcome, NoAnswer) else False if isinstance(outcome, Accepted | Refused) else None
    case.check(title, held=held, expected="no answer", observed=name_of(outcome), claim=claim_id)


def twin(case: Case, door: MessageSurface, session: MessageSession, action: str, *, before: object) -> None:
    """The same message undamaged is carried out, and shows."""
    with case.step("The same message undamaged"):
        case.twin(action, session.do(action))
        changes = door.spec.actions[action].changes
        after = case.value(door.read_in(session, changes), changes)
        case.check(
            f"{action} changes {changes}", held=after != before or None, expected=f"not {before}", observed=after
        )


def wrong_checksums(codec: Codec, text: bytes) -> Iterator[tuple[str, bytes]]:
    """Every other checksum is wrong; these are those a careless device takes for right."""
    right = codec.checksum(text)
    other = text[:-1] + bytes([text[-1] ^ 1])
    checksums = {
        "a checksum of zeros": b"0" * codec.width,
        "a checksum of ones": (b"F" if right == right.upper() else b"f") * codec.width,
        "a checksum with its first byte changed": _changed(right[:1]) + right[1:],
        "a checksum with its last byte changed": right[:-1] + _changed(right[-1:]),
        "the checksum of a text that differs in one bit": codec.checksum(other),
        "the checksum of no text": codec.checksum(b""),
        "no checksum": b"",
    }
    for title, checksum in checksums.items():
        if checksum != right:
            yield title, codec.frame(text, checksum=checksum)


def truncated(codec: Codec, text: bytes) -> Iterator[tuple[str, bytes]]:
    """Messages that break off."""
    whole = codec.frame(text)
    yield "a message without its end", whole[: -len(codec.end) or -1]
    yield "half a message", whole[: len(codec.start) + max(1, len(text) // 2)]


def oversized(codec: Codec, text: bytes) -> Iterator[tuple[str, bytes]]:
    """The text, made longer than a message may be, with the checksum of the whole."""
    for longest in (codec.longest + 1, 4 * codec.longest):
        fill = longest - len(codec.frame(text))
        yield f"a message of {longest} bytes", codec.frame(text + b"0" * max(1, fill))


def control_bytes(codec: Codec, text: bytes) -> Iterator[tuple[str, bytes]]:
    """The text with a control byte inside and behind it, with the checksum of the whole."""
    for name, byte in CONTROL.items():
        if byte in codec.start + codec.separator + codec.end:
            continue
        middle = max(1, len(text) // 2)
        yield f"{name} inside the text", codec.frame(text[:middle] + byte + text[middle:])
        yield f"{name} behind the text", codec.frame(text + byte)


def _changed(digit: bytes) -> bytes:
    """Return another byte that may stand in a checksum as it is written."""
    return b"1" if digit != b"1" else b"2"
