"""The boot loader cannot be interrupted over the console."""

from __future__ import annotations

from itertools import cycle
from time import monotonic

from harness.case import Case
from harness.device.conversation import compiled
from harness.device.outcomes import NoAnswer
from harness.links.stream import StreamLink
from harness.rig.claims import BootLockedClaim
from harness.testcase import About, contributes, each_surface, testcase, verifies

KEYS = (b" ", b"\r", b"\x03", b"\x1b", b"s", b"stop\r", b"d", b"\x04", b"+++", b"\x7f", b"\t", b"q", b"~", b"\n")
"""What boot loaders stop at: any key, or one of the usual keys and words."""

PAUSE = 0.05
"""Seconds between two keys: a countdown of zero seconds still looks at the line once."""

LATE = 0.25
"""Seconds after the boot loader's first line in which keys must be on the way: it looks for them once it is set up."""

AT_REST = 0.5
"""Seconds of silence after which the flood is digested."""


@testcase(
    "BOOT-LOCKED",
    title="No key at power-on interrupts the boot loader, and the device comes up in the claimed time",
    tags=[
        verifies("NMPA-2022/SAHD", "NMPA-2022/CONN", "FDA-A1/D", "FDA-VC/VULN-SURF"),
        contributes("ANSM-2019/CRIT-I", "ANSM-2019/CRIT-C", "NMPA-2022/PLOK"),
    ],
    about=About(property="integrity", phase="design", method="penetration", threat="access to the debug port"),
    cold=True,
    needs=["power", "cut"],
    severity="blocker",
)
@each_surface(BootLockedClaim)
def test_boot_loader(case: Case, claim_id: str, surface: str) -> None:
    claim = case.bench.rig.device.claims_of(BootLockedClaim)[claim_id]

    with case.step("Keys from power-on until the log-in prompt"):
        before = monotonic()
        case.bench.power_cycle()
        on = monotonic()
        door = case.bench.dialogue(surface)
        stream = door.wiring.open_stream(door.spec.link)
        if isinstance(stream, NoAnswer):
            case.value(stream, f"{surface} after power-on")
            return
        prompt = compiled(claim.loader_prompt)
        # The echo of the next key may follow the prompt at once.
        log_in = compiled(door.spec.login.user_prompt.removesuffix("$"))
        begun = monotonic()
        sent, up = _flood(stream, until=(prompt.pattern, log_in.pattern), within=claim.up_within * 2)
        stopped = stream.expect(prompt, since=0, timeout=0)
        banner = stream.expect(compiled(claim.loader_banner), since=0, timeout=0)
        late = begun - banner.at_ns / 1e9 if banner is not None else None
        case.check(
            "keys reached the device as it started",
            held=sent > 0 and late is not None and late < LATE or None,
            expected=f"keys from {LATE:g} s after {claim.loader_banner} at the latest",
            observed=f"{sent} bytes of keys, {'it never showed' if late is None else f'from {late:.3f} s after it'}",
        )
    with case.step("No boot loader prompt"):
        if stopped is not None:
            stream.send(b"\r")
            again = stream.expect(prompt, since=stopped.end, timeout=case.bench.wiring.answer_within)
            case.check(
                "the boot loader goes on",
                held=False,
                expected=f"never {claim.loader_prompt}",
                observed=f"{stopped.data[-80:]!r}, and {'again' if again else 'no more'} after Enter",
                claim=claim_id,
            )
            return
        case.check(
            "the boot loader goes on",
            held=True if up is not None else None,
            expected=f"never {claim.loader_prompt}",
            observed="log-in prompt" if up is not None else f"{stream.read_since(0)[-80:]!r}",
            claim=claim_id,
        )
    case.timing(
        "time from power-on to the log-in prompt",
        measured=None if up is None else up - (before + on) / 2,
        low=0,
        high=claim.up_within,
        uncertainty=(on - before) / 2,
        claim=claim_id,
    )
    if up is None:
        return

    stream.wait_quiet(AT_REST, timeout=claim.up_within)
    case.bench.start_watches()
    case.await_watches()
    case.attack(surface, f"{sent} bytes of keys since power-on")
    uptime = case.value(door.read("uptime"), "uptime")
    case.check(
        "the device started anew",
        held=isinstance(uptime, float) and uptime <= monotonic() - before or None,
        expected=f"uptime below {monotonic() - before:.1f} s",
        observed=uptime,
    )
    case.bench.check_identity()


def _flood(stream: StreamLink, *, until: tuple[bytes, ...], within: float) -> tuple[int, float | None]:
    """Send keys until one of the patterns shows; return the bytes sent and when it showed, in monotonic seconds."""
    pattern = compiled("|".join(f"(?:{each.decode()})" for each in until).replace("(?:(?m)", "(?m:"))
    end = monotonic() + within
    sent = 0
    for keys in cycle(KEYS):
        if stream.taken:
            stream.send(keys)
            sent += len(keys)
        found = stream.expect(pattern, since=0, timeout=PAUSE)
        if found is not None:
            return sent, found.at_ns / 1e9
        if monotonic() > end:
            break
    return sent, None
