"""Neither what is before the log-in nor a session gives a shell."""

from __future__ import annotations

from secrets import randbelow

from harness.case import Case
from harness.device.outcomes import Accepted, NoAnswer, Outcome, Refused, name_of
from harness.procedures.refused_log_ins import RefusedLogIns
from harness.rig.claims import AccountClaim
from harness.rig.device_file import DeviceFile, DialogueSurface, MessageSurface
from harness.testcase import About, Instance, contributes, each, testcase, verifies

CLAIM = "BASE-DEBUG-SHUT"

TAGS = [
    verifies("NMPA-2022/SAHD", "NMPA-2020/IFU-iface", "FDA-A1/B", "FDA-VC/VULN-SURF", "FDA-VC/VULN-ABUSE"),
    contributes("ANSM-2019/CRIT-C", "ANSM-2019/CRIT-I", "ANSM-2019/RISK-OBSC"),
]


class Marker:
    """A sum that only an interpreter works out: its result is in nothing that is sent, so an echo is no shell."""

    def __init__(self) -> None:
        self.a, self.b = 10_000 + randbelow(90_000), 10_000 + randbelow(90_000)

    def lines(self) -> list[str]:
        """The sum in the languages of shells, boot loaders and interpreters, plain and smuggled in."""
        a, b = self.a, self.b
        shell = f"echo $(({a}*{b}))"
        return [
            shell,
            f"expr {a} '*' {b}",
            f"sh -c '{shell}'",
            f"!{shell}",
            f"; {shell}",
            f"| {shell}",
            f"&& {shell}",
            f"$({shell})",
            f"`{shell}`",
            f"print({a}*{b})",
            f"{a}*{b}",
            f"setexpr x {a:x} * {b:x}; printenv x",
            f"{{{{{a}*{b}}}}}",
        ]

    def smuggled(self, line: str) -> list[str]:
        """The sum as a tail of a command."""
        shell = f"echo $(({self.a}*{self.b}))"
        tails = (f"; {shell}", f" $({shell})", f" `{shell}`", f" | {shell}", f" && {shell}")
        return [line + tail for tail in tails]

    def worked_out(self, text: bytes) -> bool:
        """Whether the result is in `text`, in decimal or hexadecimal."""
        product = self.a * self.b
        return str(product).encode() in text or f"{product:x}".encode() in text.lower()


CONTROL = (b"\x03", b"\x04", b"\x1a", b"\x1c", b"\x1b", b"\x1d", b"~.", b"\x1b[A\r", b"\x00\r")
"""Keys that interrupt, suspend or leave a program for what is behind it."""

SHELLS = ("shell", "sh", "/bin/sh", "bash", "ash", "exec sh", "su", "debug", "system", "enable", "python")
"""Commands by which a menu that has a way to a shell is asked for it."""


def log_ins(device: DeviceFile) -> list[Instance]:
    """Every dialogue and every surface of messages that accounts log in to."""
    surfaces = dict.fromkeys(s for claim in device.claims_of(AccountClaim).values() for s in claim.surfaces)
    lines = [name for name in surfaces if isinstance(device.surfaces[name], DialogueSurface | MessageSurface)]
    return [Instance(name, (name,)) for name in lines]


@testcase(
    "CONSOLE-NO-SHELL",
    title="Without log-in no input gives a shell",
    tags=TAGS,
    about=About(property="confidentiality", phase="design", method="penetration", threat="access to the debug port"),
    unqualified=True,
    severity="blocker",
    slow=True,
)
@each("surface", log_ins)
def test_no_shell_before_log_in(case: Case, surface: str) -> None:
    door = case.bench.line(surface)
    marker = Marker()

    case.attack(surface, "shell input before log-in")
    with door.entrance() as prompt:
        refused = RefusedLogIns(case, surface, prompt)
        for line in filter(door.carries, marker.lines()):
            if not _no_shell(case, marker, f"{line!r} before log-in", prompt.say(line, operation="shell line")):
                return
        for line in list(filter(door.carries, marker.lines()))[:3]:
            outcome = prompt.attempt("nobody", line)
            refused.one_more()
            if not _no_shell(case, marker, f"{line!r} as password", outcome):
                return
        for keys in CONTROL:
            data = keys + b"\r" + marker.lines()[0].encode() + b"\r"
            if not _no_shell(case, marker, f"{keys!r} and a shell line", prompt.poke(data, operation="control keys")):
                return
        case.twin("the log-in after it", prompt.visit(next(iter(door.accounts))))


@testcase(
    "SESSION-NO-SHELL",
    title="No command of a session gives a shell, in no role",
    tags=TAGS,
    about=About(property="integrity", phase="design", method="penetration", threat="command injection"),
    slow=True,
    version=2,
)
@each("surface", log_ins)
def test_no_shell_in_a_session(case: Case, surface: str) -> None:
    door = case.bench.line(surface)
    marker = Marker()

    case.attack(surface, "shell input in a session")
    for account in door.accounts:
        with case.step(f"As {account}"), door.session(account) as opened:
            session = case.value(opened, f"log-in of {account}")
            # Only what leaves nothing behind: on a weak device the command in front is carried out.
            actions = {name: action for name, action in door.actions.items() if action.ready and action.plain}
            harmless = [name for name, action in actions.items() if not action.effects]
            carriers = [*harmless[:1], *(name for name in harmless[1:] if actions[name].harmless)]
            smuggled = [tail for name in carriers for tail in marker.smuggled(door.line_of(name))]
            for line in filter(door.carries, marker.lines() + smuggled):
                if not _no_shell(case, marker, repr(line), session.send_line(line, operation="shell line")):
                    return
            for name in SHELLS:
                asked: Outcome[object] = session.send_line(name, operation="name of a shell")
                if not isinstance(asked, Refused):
                    # A shell without a terminal wants the line feed.
                    asked = session.poke(marker.lines()[0].encode() + b"\r\n", operation="shell line")
                if not _no_shell(case, marker, f"{name} and a shell line", asked):
                    return
            for keys in CONTROL:
                data = keys + b"\r" + marker.lines()[0].encode() + b"\r"
                outcome = session.poke(data, operation="control keys")
                if not _no_shell(case, marker, f"{keys!r} and a shell line", outcome):
                    return
            case.twin("the session after it", door.read_in(session, "uptime"))


def _no_shell(case: Case, marker: Marker, what: str, outcome: Outcome[object]) -> bool:
    """Check what a line came to; False when there is a shell, or no answer any more, which is decided at the end."""
    found = marker.worked_out(outcome.received)
    silent = isinstance(outcome, NoAnswer)
    case.check(
        what,
        held=False if found else None if silent else True,
        expected=f"{marker.a} times {marker.b} is not worked out",
        observed="worked out" if found else name_of(outcome) if silent else "not worked out",
        claim=CLAIM,
    )
    if isinstance(outcome, Accepted) and hasattr(outcome.value, "log_out"):
        outcome.value.log_out()
    return not silent and not found
