"""Recorded commands sent again: in the same session, with an older counter, in the next session."""

from __future__ import annotations

import time

from harness.case import Case
from harness.device.bus_commands import BusCommandSurface
from harness.device.outcomes import NoAnswer
from harness.rig.claims import BusCommandClaim
from harness.rig.rig_file import Effect
from harness.testcase import About, contributes, each_surface, testcase, verifies

TAGS = [
    verifies("NMPA-2022/NAUT", "NMPA-2022/TXIG", "NMPA-2020/IFU-iface", "ANSM-2019/CRIT-I", "FDA-A1/A"),
    contributes("FDA-VC/THREAT", "NMPA-2022/VV-THREAT", "ANSM-2019/SAFE-FIRST"),
]


@testcase(
    "CAN-REPLAY",
    title="A recorded bus command is refused when it is sent again, and so is an older counter",
    tags=TAGS,
    about=About(property="integrity", phase="design", method="penetration", threat="replayed bus command"),
    effects=[Effect.CONFIGURATION],
    severity="blocker",
)
@each_surface(BusCommandClaim)
def test_replay(case: Case, claim_id: str, surface: str) -> None:
    door = case.bench.bus_commands(surface)
    effect = door.spec.harmless
    mirror = case.bench.surface(effect.surface)

    case.attack(surface, "recorded commands sent again")
    recorded = door.command(effect.opcode, effect.argument)
    if isinstance(recorded, NoAnswer):
        case.value(recorded, "a command to record")
        return
    case.twin("the command when it is fresh", door.send(recorded, operation="fresh command"))
    case.expect_refused("the same command again at once", door.send(recorded, operation="replay"), claim="BASE-REPLAY")
    case.twin("another fresh command", door.do(effect.opcode, effect.other))
    before = case.value(mirror.read(effect.field), f"{effect.field} on {effect.surface}")
    wanted = round(effect.other * effect.scale, 6)
    case.check("the twin's effect is read back", held=before == wanted or None, expected=wanted, observed=before)

    first = recorded.counter
    counters = {"the counter of the last one": first + 1, "an older counter": first - 1, "counter 0": 0}
    stale = {
        f"a right command with {title}": door.sign(recorded.opcode, effect.argument, counter=counter)
        for title, counter in counters.items()
    }
    for title, command in {"the recorded command after another one": recorded, **stale}.items():
        with case.step(title):
            claim = "BASE-REPLAY" if command is recorded else claim_id
            case.expect_refused(title, door.send(command, operation=title), claim=claim)
            after = case.value(mirror.read(effect.field), f"{effect.field} on {effect.surface}")
            case.unchanged(f"{effect.field} after {title}", before=before, after=after, claim=claim)
    case.twin("a fresh command at the end", door.do(effect.opcode, effect.argument))


@testcase(
    "CAN-REPLAY-SESSION",
    title="A bus command recorded before a power cycle is refused after it",
    tags=TAGS,
    about=About(property="integrity", phase="design", method="penetration", threat="replayed bus command"),
    effects=[Effect.CONFIGURATION],
    needs=["power"],
    severity="blocker",
)
@each_surface(BusCommandClaim)
def test_replay_in_the_next_session(case: Case, claim_id: str, surface: str) -> None:
    door = case.bench.bus_commands(surface)
    effect = door.spec.harmless

    with case.step("Record commands"):
        case.twin("a command when it is fresh", door.do(effect.opcode, effect.argument))
        session = door.session
        # Far ahead of the counters of the next session, so that the counter cannot be what refuses it.
        recorded = door.sign(door.spec.opcodes[effect.opcode], effect.argument, counter=0x1000)
        case.twin("the command that is recorded", door.send(recorded, operation="recorded command"))
    with case.step("Take the power and start again"):
        case.bench.power_cycle()
        door = case.bench.bus_commands(surface)
        mirror = case.bench.surface(effect.surface)
        within = case.bench.rig.device.starts_within
        _wait_for_session(door, within=within)
        case.bench.check_identity(within=within)
        case.bench.start_watches()
        case.await_watches()  # what a watch sees first it takes for settled
    case.attack(surface, "a command recorded in the session before")
    case.twin("another fresh command", door.do(effect.opcode, effect.other))
    before = case.value(mirror.read(effect.field), f"{effect.field} on {effect.surface}")
    case.check(
        "the session is another one", held=door.session != session, expected="a new session",
        observed="the same session" if door.session == session else "a new session", claim=claim_id,
    )  # fmt: skip
    case.expect_refused("the recorded command", door.send(recorded, operation="replay"), claim="BASE-REPLAY")
    after = case.value(mirror.read(effect.field), f"{effect.field} on {effect.surface}")
    case.unchanged(f"{effect.field} after the recorded command", before=before, after=after, claim="BASE-REPLAY")


def _wait_for_session(door: BusCommandSurface, *, within: float) -> None:
    deadline = time.monotonic() + within
    while isinstance(door.command(door.spec.clock), NoAnswer) and time.monotonic() < deadline:
        pass  # each try waits for the session frame itself
