"""Frames on identifiers that are not meant for the device, and frames in the device's own name."""

from __future__ import annotations

import random
import threading
import time

from harness.case import Case
from harness.device.bus_commands import BusCommandSurface
from harness.device.outcomes import NoAnswer
from harness.links.can import CanFrame, CanLink
from harness.rig.claims import BusCommandClaim
from harness.rig.rig_file import Effect
from harness.testcase import About, contributes, each_surface, testcase, verifies

SEED = 20261122
"""Payloads and extended identifiers are the same in every run."""
PACE = 2000
"""Frames a second: a 500 kbit/s bus takes about 4000 of eight bytes."""
EXTENDED = 400
"""How many random 29-bit identifiers are tried."""


def send_paced(bus: CanLink, frames: list[CanFrame]) -> None:
    """Send frames at `PACE`, so that none is lost in a queue."""
    tick, begin = threading.Event(), time.monotonic()
    for number, frame in enumerate(frames):
        ahead = number / PACE - (time.monotonic() - begin)
        if ahead > 0.005:
            tick.wait(ahead)
        bus.send(frame)


def unexpected(bus: CanLink, door: BusCommandSurface, *, since_ns: int) -> list[str]:
    """Identifiers on which something came that the device does not declare."""
    known = set(door.spec.known_ids)
    seen = {f.word for f in bus.history(since_ns) if not f.error and (f.extended or f.remote or f.can_id not in known)}
    return [f"0x{word:X}" for word in sorted(seen)]


@testcase(
    "CAN-FOREIGN-IDS",
    title="Frames on identifiers that are not the device's, extended and remote frames change nothing",
    tags=[
        verifies("NMPA-2022/IF-EDX", "NMPA-2020/IFU-iface", "FDA-VC/VULN-ABUSE", "ANSM-2019/CRIT-I"),
        contributes("FDA-VC/VULN-SURF", "ANSM-2019/SAFE-FIRST", "NMPA-2022/SAHD", "ANSM-2019/RISK-OBSC"),
    ],
    about=About(property="integrity", phase="design", method="scan", threat="undeclared bus command"),
    effects=[Effect.CONFIGURATION],
    unqualified=True,
)
@each_surface(BusCommandClaim)
def test_foreign_identifiers(case: Case, claim_id: str, surface: str) -> None:
    door = case.bench.bus_commands(surface)
    effect = door.spec.harmless
    mirror = case.bench.surface(effect.surface)
    bus = case.bench.wiring.can(door.spec.link)
    rng = random.Random(SEED)

    case.attack(surface, "frames on every identifier that is not declared, extended frames, remote frames")
    right = door.command(effect.opcode, effect.argument)
    if isinstance(right, NoAnswer):
        case.value(right, "a right command to misaddress")
        return
    before = case.value(mirror.read(effect.field), f"{effect.field} on {effect.surface}")
    fingerprint = dict(case.bench.fingerprint())
    began = time.monotonic_ns()
    foreign = [number for number in range(0x800) if number not in door.spec.known_ids]
    misaddressed = [CanFrame(number, right.payload) for number in foreign]
    noise = [CanFrame(number, rng.randbytes(rng.randint(0, 8))) for number in foreign]
    extended = [CanFrame(number, right.payload, extended=True) for number in door.spec.known_ids]
    extended += [
        CanFrame(rng.getrandbits(29), rng.randbytes(rng.randint(0, 8)), extended=True) for _ in range(EXTENDED)
    ]
    remote = [CanFrame(number, bytes(8), remote=True) for number in door.spec.known_ids]
    for title, frames in {
        "a right command on each foreign identifier": misaddressed,
        "noise on each foreign identifier": noise,
        "a right command on the declared numbers as 29-bit identifiers, and noise on others": extended,
        "remote frames for the declared identifiers": remote,
    }.items():
        with case.step(f"{len(frames)} frames: {title}"):
            send_paced(bus, frames)
            case.value(door.do(door.spec.clock), f"a command after {title}")
            after = case.value(mirror.read(effect.field), f"{effect.field} on {effect.surface}")
            case.unchanged(f"{effect.field} after {title}", before=before, after=after, claim=claim_id)
    case.unchanged("the fingerprint", before=fingerprint, after=dict(case.bench.fingerprint()))
    others = unexpected(bus, door, since_ns=began)
    case.check(
        "identifiers answered that are not declared", held=not others, expected=[], observed=others, claim=claim_id
    )
    case.twin("a right command on its own identifier", door.do(effect.opcode, effect.argument))


@testcase(
    "CAN-SPOOFED-STATUS",
    title="Frames sent in the device's own name do not mislead it",
    tags=[
        verifies("NMPA-2022/NAUT", "NMPA-2022/TXIG", "NMPA-2020/IFU-iface", "FDA-A1/D", "ANSM-2019/CRIT-I"),
        contributes("ANSM-2019/SAFE-FIRST", "NMPA-2022/VV-THREAT"),
    ],
    about=About(property="integrity", phase="design", method="penetration", threat="spoofed status"),
    effects=[Effect.CONFIGURATION],
    hardware="two nodes that send one identifier disturb each other on a wire; an emulated bus has no collisions",
)
@each_surface(BusCommandClaim)
def test_spoofed_status(case: Case, claim_id: str, surface: str) -> None:
    door = case.bench.bus_commands(surface)
    effect = door.spec.harmless
    mirror = case.bench.surface(effect.surface)
    bus = case.bench.wiring.can(door.spec.link)
    rng = random.Random(SEED)

    case.attack(surface, "status, session and answer frames sent by the bench")
    case.twin("a fresh command", door.do(effect.opcode, effect.other))
    session = door.session
    before = case.value(mirror.read(effect.field), f"{effect.field} on {effect.surface}")
    fingerprint = dict(case.bench.fingerprint())
    own = sorted(door.own_ids())
    payloads = [bytes(8), b"\xff" * 8, *(rng.randbytes(8) for _ in range(20))]
    with case.step(f"{len(own) * len(payloads)} frames in the device's name"):
        send_paced(bus, [CanFrame(number, payload) for payload in payloads for number in own])
        after = case.value(mirror.read(effect.field), f"{effect.field} on {effect.surface}")
        case.unchanged(f"{effect.field} after spoofed frames", before=before, after=after, claim=claim_id)
        case.unchanged("the fingerprint", before=fingerprint, after=dict(case.bench.fingerprint()))
    with case.step("A session announced by the bench is not taken up"):
        forged = bytes(byte ^ 0xA5 for byte in session)
        bus.send(CanFrame(door.spec.session_id, forged))
        fresh = door.command(effect.opcode, effect.argument)
        if isinstance(fresh, NoAnswer):
            case.value(fresh, "a command")
            return
        misled = door.sign(fresh.opcode, fresh.argument, counter=fresh.counter, session=forged)
        case.expect_refused("a command under the forged session", door.send(misled), claim=claim_id)
        after = case.value(mirror.read(effect.field), f"{effect.field} on {effect.surface}")
        case.unchanged(f"{effect.field} after the forged session", before=before, after=after, claim=claim_id)
        case.twin("the same command under the device's session", door.send(fresh))
