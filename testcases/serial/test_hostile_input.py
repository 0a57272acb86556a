"""Control bytes, overlong lines, invalid text and breaks on a log-in surface do no harm."""

from __future__ import annotations

from collections.abc import Iterator

from harness.case import Case
from harness.device.dialogue import DialogueEntrance, DialogueSession
from harness.device.messages import MessageEntrance, MessageSession
from harness.device.outcomes import Accepted, NoAnswer, Outcome, name_of
from harness.rig.claims import AvailabilityClaim
from harness.rig.device_file import DeviceFile, DialogueSurface, MessageSurface
from harness.testcase import About, Instance, contributes, each, testcase, verifies

TAGS = [
    verifies("FDA-VC/VULN-ABUSE", "FDA-A1/G", "NMPA-2022/SAHD", "NMPA-2020/IFU-iface"),
    contributes("ANSM-2019/CRIT-D", "ANSM-2019/SAFE-FIRST", "NMPA-2022/VULN-1"),
]

INPUTS: dict[str, bytes] = {
    "every control byte": bytes(byte for byte in range(0x20) if byte not in b"\r\n") * 4,
    "every byte above 7F": bytes(range(0x7F, 0x100)) * 4,
    "invalid UTF-8": b"\xc0\xaf\xed\xa0\x80\xf8\x88\x80\x80\x80\xff\xfe" * 20,
    "4096 NUL bytes": bytes(4096),
    "a line of 1000 bytes": b"A" * 1000,
    "a line of 16384 bytes": b"B" * 16384,
    "format strings": b"%s%n%x%p" * 12 + b"\r",
    "terminal sequences": b"\x1b[2J\x1b[6n\x1b]0;x\x07\x1bc" * 20,
    "200 empty lines": b"\r" * 200,
    "backspaces over nothing": b"\b\x7f" * 500,
}
"""Name of what is sent → its bytes; a line end follows."""

BREAKS: dict[str, bytes] = {
    "a break and an empty line": b"\r",
    "a break and the kernel's help key": b"h",
    "a break and the kernel's restart key": b"b",
}
"""Name of what is sent → the bytes after the break. Linux takes a key after a break for an order (SysRq)."""


def lines(device: DeviceFile) -> Iterator[Instance]:
    """Every log-in surface on a byte stream of an availability claim."""
    for claim_id, claim in device.claims_of(AvailabilityClaim).items():
        for surface in claim.surfaces:
            if isinstance(device.surfaces[surface], DialogueSurface | MessageSurface):
                yield Instance(surface, (claim_id, surface))


@testcase(
    "CONSOLE-HOSTILE-INPUT",
    title="Malformed input before log-in is survived",
    tags=TAGS,
    about=About(property="availability", phase="design", method="fuzz", threat="malformed input"),
    slow=True,
)
@each("claim_id, surface", lines)
def test_at_the_log_in_prompt(case: Case, claim_id: str, surface: str) -> None:
    door = case.bench.line(surface)

    case.attack(surface, "malformed input before log-in")
    with door.entrance() as prompt:
        if not _all_survived(case, claim_id, prompt):
            return
        case.twin("the log-in after it", prompt.visit(next(iter(door.accounts))))


@testcase(
    "SESSION-HOSTILE-INPUT",
    title="Malformed input in a session is survived",
    tags=TAGS,
    about=About(property="availability", phase="design", method="fuzz", threat="malformed input"),
    slow=True,
)
@each("claim_id, surface", lines)
def test_in_a_session(case: Case, claim_id: str, surface: str) -> None:
    door = case.bench.line(surface)

    case.attack(surface, "malformed input in a session")
    with door.session() as opened:
        session = case.value(opened, "log-in")
        if not _all_survived(case, claim_id, session):
            return
        case.twin("the session after it", door.read_in(session, "uptime"))


def _all_survived(
    case: Case, claim_id: str, prompt: DialogueEntrance | DialogueSession | MessageEntrance | MessageSession
) -> bool:
    """Send everything, breaks where the link can; stop at the first that is not survived."""
    for what, data in INPUTS.items():
        if not _survived(case, claim_id, what, prompt.poke(data, operation=what)):
            return False
    if not prompt.can_break:
        with case.step("no break is sent: this link cannot send one"):
            return True
    for what, data in BREAKS.items():
        if not _survived(case, claim_id, what, prompt.poke(data, send_break=True, operation=what)):
            return False
    return True


def _survived(case: Case, claim_id: str, what: str, outcome: Outcome[bytes]) -> bool:
    """It answers again, or its prompt comes back; else whether the surface is alive at the end decides."""
    return case.check(
        what,
        held=isinstance(outcome, Accepted) or None,
        expected="it answers again",
        observed="it does" if isinstance(outcome, Accepted) else name_of(outcome),
        claim="" if isinstance(outcome, NoAnswer) else claim_id,
    )
