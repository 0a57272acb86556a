"""Text that interpreters like is refused or kept as it was, in every text an action takes."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from secrets import randbelow

from harness.case import Case
from harness.device.answer import Answer
from harness.device.http import HttpSurface
from harness.device.log_in import LogInSurface, Session
from harness.device.outcomes import Accepted, NoAnswer, Outcome, Refused, name_of
from harness.links.stream import StreamLink
from harness.procedures.acting import do, permitted, prepare, takes_text, text_arguments
from harness.procedures.refused_log_ins import RefusedLogIns
from harness.rig.claims import AccountClaim, PermissionClaim
from harness.rig.device_file import Action, DeviceFile
from harness.rig.http_surface import HttpAction
from harness.rig.message_surface import MessageAction
from harness.rig.rig_file import Effect
from harness.testcase import About, Instance, contributes, each, each_surface, testcase, verifies

CLAIM = "BASE-INPUT"
DELAY = 2
"""Seconds a payload would have the device wait."""
TIMES = 3
"""Answers that must all be late."""
FOREIGN = re.compile(rb"root:[^:\n]*:0:0:|Linux version \d|PRETTY_NAME=|\[boot loader\]")
"""What stands in the files that paths lead to which leave their folder."""
LISTED = {"user-add": ("user-list", "user", "user-remove"), "patient-add": ("patient-list", "id", "patient-remove")}
"""Operations that add a row → where it is listed, the argument that names it, and what takes it away again."""
IDENTITY = ("model", "serial", "version")
"""Fields that say who the device is."""
LEFT_OUT = {Effect.FIRMWARE, Effect.IRREVERSIBLE}

TAGS = [
    verifies("NMPA-2022/IF-EDX", "NMPA-2020/IFU-iface", "FDA-A1/D", "FDA-VC/VULN-ABUSE", "ANSM-2019/CRIT-I"),
    contributes("NMPA-2022/SAHD", "ANSM-2019/CRIT-C", "ANSM-2019/RISK-OBSC"),
]


class Payloads:
    """Texts that would be seen if anything interpreted them: the product of two numbers, a delay, a foreign file."""

    def __init__(self) -> None:
        self.a, self.b = (1000 + randbelow(9000) for _ in range(2))

    def texts(self, harmless: str) -> list[str]:
        """The texts, short ones first: many fields take little."""
        a, b = self.a, self.b
        shell = f"echo $(({a}*{b}))"
        return [
            f"$(({a}*{b}))", f"${{{a}*{b}}}", f"{{{{{a}*{b}}}}}", f"#{{{a}*{b}}}", f"<%={a}*{b}%>", f"{a}*{b}",
            f"`expr${{IFS}}{a}${{IFS}}\\*${{IFS}}{b}`", f"$({shell})", f"`{shell}`", f";{shell};", f"|{shell}",
            f"&&{shell}", f"'; {shell}; '", f'"; {shell}; "', f"{harmless}\n{shell}\n", f"$({shell} >/dev/console)",
            f"; {shell} >/dev/console #",
            "%s%s%s%s%s%n", "%08x.%08x.%08x.%08x", "%99999999d", "{0.__class__}", "{}",
            "<script>alert(1)</script>", "<!--#exec cmd=\"id\"-->", "&#x41;&lt;", "]]>", "\"><b>",
            "' OR '1'='1", "'; DROP TABLE users; --", "\",\"role\":\"administrator", "\\u0041\\", "\\",
            f"{harmless}\r\nX-Injected: 1\r\n\r\n", f"{harmless}\x00tail", "\x1b[2J\x1b]0;x\x07", "\u202etxt.exe",
            "\ufeff", "a\u0301" * 8, "\U0001f489", " ", "", *PATHS,
            "A" * 65, "A" * 201, "ä" * 300, "A" * 5000,
        ]  # fmt: skip

    def worked_out(self, text: bytes) -> bool:
        """Whether the product stands in a text."""
        return str(self.a * self.b).encode() in text


PATHS = (
    "../../../../../../../../etc/passwd",
    "/etc/passwd",
    "..%2f..%2f..%2f..%2f..%2fetc%2fpasswd",
    "....//....//etc/passwd",
    "..\\..\\..\\..\\boot.ini",
    "../../../../../../../../proc/version",
    "../../../../../../../../etc/passwd\x00.txt",
    "file:///etc/passwd",
    "/dev/zero",
    "..",
    ".",
)
SLEEPERS = ("$(sleep {})", "`sleep {}`", ";sleep {};", "|sleep {}", "'; sleep {}; '", "$(sleep${{IFS}}{})")


def texts_of(device: DeviceFile) -> Iterator[Instance]:
    """Every action of a claim about permissions that takes text, by surface; restarts and resets left out."""
    for claim in device.claims_of(PermissionClaim).values():
        for surface in claim.surfaces:
            for name, action in device.surfaces[surface].actions.items():  # type: ignore[union-attr]
                if LEFT_OUT & set(action.effects) or not any(name in may for may in claim.allowed.values()):
                    continue
                if text_arguments(action):
                    yield Instance(f"{surface}-{name}", (surface, name))


@testcase(
    "INJECT-TEXT",
    title="Text that an interpreter would take for its own is refused or kept as it was, and does nothing",
    tags=TAGS,
    about=About(property="integrity", phase="design", method="penetration", threat="command injection"),
    effects=[Effect.ACCOUNTS, Effect.CONFIGURATION, Effect.DATA],
    version=2,
    slow=True,
)
@each("surface, action", texts_of)
def test_text(case: Case, surface: str, action: str) -> None:
    door = case.bench.log_in_surface(surface)
    spec = door.actions[action]
    assert isinstance(spec, Action | HttpAction | MessageAction)
    payloads = Payloads()
    case.attack(surface, f"texts for interpreters in {', '.join(text_arguments(spec))} of {action}")
    prepare(case, surface, action)
    before = state(case, door, spec.changes)
    again = state(case, door, spec.changes)
    before = {name: value for name, value in before.items() if again[name] == value}  # the others change by themselves
    console = _console(case)
    mark = console.mark() if console else 0
    field = Field(case, door, action)
    for argument, harmless in text_arguments(spec).items():
        with case.step(f"{action}: {argument}"), door.session(permitted(case, surface, action)[0]) as opened:
            session = case.value(opened, "log-in")
            for text in payloads.texts(harmless):
                if not takes_text(door, spec, argument, text):
                    continue
                if not field.send(session, payloads, argument, text):
                    return
            for sleeper in SLEEPERS:
                field.delay(session, argument, sleeper)
            field.twin(session)
    with case.step("Nothing of it is anywhere else"):
        for where, text in elsewhere(case, surface, console.read_since(mark) if console else b""):
            worked_out = payloads.worked_out(text)
            case.check(f"worked out on {where}", held=not worked_out, expected="no", observed=worked_out, claim=CLAIM)
    expect_unchanged(case, door, before=before, after=state(case, door, spec.changes))


class Field:
    """The action of a surface whose texts are attacked."""

    def __init__(self, case: Case, door: LogInSurface, action: str) -> None:
        self.case, self.door, self.action = case, door, action
        self.spec = door.actions[action]

    def do(self, session: Session, argument: str, text: str) -> Outcome[Answer]:
        """Carry the action out with a text in the place of one argument, the others harmless."""
        return session.do(self.action, **{argument: text})

    def send(self, session: Session, payloads: Payloads, argument: str, text: str) -> bool:
        """Send one text and look at what it came to; False when the device no longer answers."""
        outcome = self.do(session, argument, text)
        shown = f"{argument} {text[:40]!r}" + (f", {len(text)} characters" if len(text) > 40 else "")
        # The field as it is kept is asked at once: what is accepted must stand there as it was.
        kept = self.kept(session, argument, text) if isinstance(outcome, Accepted) else None
        seen = outcome.received + (kept or "").encode(errors="replace")
        interpreted = payloads.worked_out(seen) or FOREIGN.search(seen) is not None
        same = kept is None or kept == text
        answered = isinstance(outcome, Accepted | Refused) and not self.door.ended(outcome)
        self.case.check(
            shown,
            held=False if interpreted or not same else True if answered else None,
            expected="refused, or kept as it was",
            observed="interpreted" if interpreted else f"kept as {kept!r}" if not same else name_of(outcome),
            claim=CLAIM,
        )
        if isinstance(outcome, Accepted):
            self.take_away(session, argument, text)
        return not isinstance(outcome, NoAnswer)

    def kept(self, session: Session, argument: str, text: str) -> str | None:
        """Return what is kept of the text; None where the surface does not show it."""
        if self.action in LISTED:
            list_action, key, _ = LISTED[self.action]
            rows = self.case.value(session.do(list_action), list_action).rows
            named = text if argument == key else str(self.spec.args[key])  # type: ignore[attr-defined]
            found = [row for row in rows if row.get(key) == named]
            if argument not in (rows[0] if rows else {}):
                return None
            return found[0][argument] if found else f"none of {len(rows)} rows"
        if self.spec.changes and len(text_arguments(self.spec)) == 1:  # type: ignore[arg-type]
            return str(self.case.value(self.door.read_in(session, self.spec.changes), self.spec.changes))
        return None

    def take_away(self, session: Session, argument: str, text: str) -> None:
        """Remove the row that an accepted text has added."""
        if self.action in LISTED:
            _, key, remove = LISTED[self.action]
            named = text if argument == key else str(self.spec.args[key])  # type: ignore[attr-defined]
            self.case.value(session.do(remove, **{key: named}), f"{remove} of what was added")

    def delay(self, session: Session, argument: str, sleeper: str) -> None:
        """A command to wait must not be waited for: the same with no time is the twin."""
        held: bool | None = None
        seen: set[str] = set()
        # An answer may be late once for itself; one that waits is late each time, and its twin never is.
        for _ in range(TIMES):
            twin_said, twin = self.timed(session, argument, sleeper.format(0))
            said, took = self.timed(session, argument, sleeper.format(DELAY))
            seen.add(said)
            busy = took >= DELAY and twin > DELAY / 2
            # Silence is no delay, a busy bench is late without any, and another answer has another time.
            held = took < DELAY if said and twin_said and len(seen) == 1 and not busy else None
            if held is not False:
                break
        self.case.check(
            f"{argument} {sleeper.format(DELAY)!r} is not waited for",
            held=held,
            expected=f"less than {DELAY} s",
            observed=f"{took:.2f} s, {twin:.2f} s without the delay",
            claim=CLAIM,
        )

    def timed(self, session: Session, argument: str, text: str) -> tuple[str, float]:
        """Return what a text was answered, empty for nothing, and the seconds until then."""
        asked = time.monotonic()
        outcome = self.do(session, argument, text)
        took = time.monotonic() - asked
        if isinstance(outcome, Accepted):
            self.take_away(session, argument, text)
        answered = isinstance(outcome, Accepted | Refused) and not self.door.ended(outcome)
        return type(outcome).__name__ if answered else "", took

    def twin(self, session: Session) -> None:
        """With its harmless texts the action goes on as declared."""
        outcome = session.do(self.action)
        if self.spec.declined:
            held = isinstance(outcome, Refused) and not self.door.ended(outcome) and not self.door.denied(outcome)
            self.case.check("harmless texts", held=held or None, expected="refused as declared", observed=outcome)
            return
        if self.spec.ready:
            self.case.twin(f"{self.action} with harmless texts", outcome)
        if isinstance(outcome, Accepted) and self.action in LISTED:
            _, key, _ = LISTED[self.action]
            self.take_away(session, key, str(self.spec.args[key]))  # type: ignore[attr-defined]


def state(case: Case, door: LogInSurface, changed: str) -> dict[str, object]:
    """Return every field of the surface that the action does not change, but the clock's."""
    of_action = door.fields[changed].action if changed else ""
    seen: dict[str, object] = {}
    for name, codec in door.fields.items():
        able = permitted(case, door.name, codec.action)
        if name != "uptime" and codec.action != of_action and able:
            with door.session(able[0]) as opened:
                seen[name] = case.value(door.read_in(case.value(opened, "log-in"), name), name)
    return seen


def expect_unchanged(case: Case, door: LogInSurface, *, before: dict[str, object], after: dict[str, object]) -> None:
    """What only an action changes, and who the device is, is as before; any other field may change by itself."""
    lists = {listed for listed, _, _ in LISTED.values()}
    steady = {*IDENTITY, *(action.changes for action in door.actions.values())}
    steady |= {item.field for item in case.bench.rig.device.fingerprint}
    steady |= {name for name, codec in door.fields.items() if codec.action in lists}
    kept = {name: value for name, value in before.items() if name in steady}
    case.unchanged("what the action does not change", before=kept, after={name: after[name] for name in kept})
    for name, value in before.items():
        if name not in steady:
            held = after[name] == value or None
            case.check(f"{name}, which may change by itself", held=held, expected=value, observed=after[name])


def elsewhere(case: Case, surface: str, console: bytes) -> Iterator[tuple[str, bytes]]:
    """Return what can be read of the device's output: console, files of the equipment, audit log."""
    yield "the console", console
    door = case.bench.log_in_surface(surface)
    if "equipment-list" in door.actions:
        for row in case.value(do(case, surface, "equipment-list"), "the files").rows:
            text = case.value(do(case, surface, "equipment-read", name=row["name"]), row["name"]).text
            yield row["name"], text
    if "audit" in door.actions:
        with door.session(permitted(case, surface, "audit")[0]) as opened:
            yield "the audit log", case.value(case.value(opened, "log-in").do("audit"), "the audit log").text


def _console(case: Case) -> StreamLink | None:
    """The console's line, where the device has one."""
    name = case.bench.rig.device.console
    stream = case.bench.wiring.open_stream(name) if name else None
    return stream if isinstance(stream, StreamLink) else None


@testcase(
    "INJECT-LOG-IN",
    title="Text that an interpreter would take for its own opens nothing and does nothing at the log-in",
    tags=TAGS,
    about=About(property="confidentiality", phase="design", method="penetration", threat="command injection"),
    effects=[Effect.ACCOUNTS],
    slow=True,
    unqualified=True,
)
@each_surface(AccountClaim)
def test_log_in(case: Case, claim_id: str, surface: str) -> None:
    door = case.bench.log_in_surface(surface)
    payloads = Payloads()
    known = next(iter(door.accounts))
    case.attack(surface, "texts for interpreters as user name and as password")
    console = _console(case)
    mark = console.mark() if console else 0
    with door.entrance() as prompt:
        refused = RefusedLogIns(case, surface, prompt)
        for number, text in enumerate(payloads.texts(known)):
            if not text or not (isinstance(door, HttpSurface) or (text.isprintable() and len(text) < 200)):
                continue
            for title, user, password in (("user name", text, "x"), ("password", "nobody-here", text)):
                outcome = prompt.attempt(user, password)
                refused.one_more()
                shown = f"{title} {text[:40]!r}" + (f", {len(text)} characters" if len(text) > 40 else "")
                # What is no request to log in is refused like any other that the surface does not take.
                held = None if isinstance(outcome, NoAnswer) else not isinstance(outcome, Accepted)
                case.check(shown, held=held, expected="no log-in", observed=name_of(outcome), claim=claim_id)
                wrong = payloads.worked_out(outcome.received) or FOREIGN.search(outcome.received) is not None
                case.check(f"{shown} is not interpreted", held=not wrong, expected=False, observed=wrong, claim=CLAIM)
                if isinstance(outcome, Accepted):
                    outcome.value.log_out()
                if isinstance(outcome, NoAnswer):
                    return
            if number % 10 == 0:
                case.twin(f"{known} in between", prompt.visit(known))
        case.twin(f"{known} at the end", prompt.visit(known))
    worked_out = payloads.worked_out(console.read_since(mark)) if console else False
    case.check("worked out on the console", held=not worked_out, expected="no", observed=worked_out, claim=CLAIM)
