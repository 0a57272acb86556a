"""Floods on one surface, while the essential performance goes on and every surface answers again afterwards."""

from __future__ import annotations

import random
import struct
import threading
import time
from collections.abc import Iterable

from harness.case import Case
from harness.device.outcomes import Accepted, NoAnswer
from harness.links.can import CanFrame
from harness.links.flood import flood_tcp
from harness.rig.claims import AvailabilityClaim
from harness.rig.device_file import BusCommandSurface, DeviceFile, DialogueSurface, ModbusSurface, SurfaceSpec
from harness.rig.rig_file import Effect, ModbusTcpLinkSpec
from harness.testcase import About, Instance, contributes, each, testcase, verifies
from harness.verdict import Undecided

SECONDS = 5.0
"""How long a flood lasts."""
CONNECTIONS = 32
"""Connections at once: more than a small device has places for."""
FRAMES_A_SECOND = 3000
"""Four fifths of a 500 kbit/s bus: a full bus of the highest priority leaves no device any room."""
CHARACTERS_A_SECOND = 11520
"""What a line of 115200 baud takes."""
NOISE = b"xyz~ \t\x00\x01\x03\x04\x08\x1b\x7f\xff"
SEED = 20261122

TAGS = [
    verifies("FDA-A1/G", "FDA-VC/VULN-ABUSE", "NMPA-2022/CONN", "NMPA-2020/IFU-iface", "ANSM-2019/CRIT-D"),
    contributes("ANSM-2019/SAFE-FIRST", "NMPA-2022/VV-THREAT"),
]
ABOUT = About(property="availability", phase="design", method="penetration", threat="denial of service")


def _find(device: DeviceFile, kind: type[SurfaceSpec]) -> Iterable[Instance]:
    for claim_id, claim in device.claims_of(AvailabilityClaim).items():
        for surface in claim.surfaces:
            if isinstance(device.surfaces[surface], kind):
                yield Instance(surface, (claim_id, surface))


def modbus_tcp(device: DeviceFile) -> Iterable[Instance]:
    """Find the Modbus TCP surfaces that claim availability."""
    for instance in _find(device, ModbusSurface):
        spec = device.surfaces[instance.id]
        if isinstance(spec, ModbusSurface) and spec.framing == "tcp":
            yield instance


def buses(device: DeviceFile) -> Iterable[Instance]:
    """Find the command buses that claim availability."""
    return _find(device, BusCommandSurface)


def consoles(device: DeviceFile) -> Iterable[Instance]:
    """Find the dialogues on a line of their own, without connections, that claim availability."""
    for instance in _find(device, DialogueSurface):
        spec = device.surfaces[instance.id]
        if isinstance(spec, DialogueSurface) and not spec.closes:
            yield instance


def begin(case: Case, claim_id: str, surface: str, what: str) -> None:
    """Prove every surface of the claim alive: each has to answer again at the end."""
    claim = case.bench.rig.device.claims_of(AvailabilityClaim)[claim_id]
    for other in claim.surfaces:
        case.attack(other, what if other == surface else f"{what} on {surface}")
    case.await_watches()


def prove_recovery(case: Case, claim_id: str, surface: str, *, load: str) -> None:
    """The flooded surface answers again within the claimed time after the flood has ended."""
    claim = case.bench.rig.device.claims_of(AvailabilityClaim)[claim_id]
    title = f"{surface} answers again after {load}"
    ended = asked = time.monotonic()
    answered: float | None = None
    while answered is None and asked - ended < claim.recovery:
        asked = time.monotonic()
        if isinstance(case.bench.surface(surface).probe(), Accepted):
            answered = time.monotonic()
    if answered is None:
        # Silence is not decided here: it has to come again on a fresh baseline.
        case.check(title, held=None, expected=f"within {claim.recovery:g} s", observed="never", claim=claim_id)
        return
    case.timing(
        title, measured=(asked + answered) / 2 - ended, low=0, high=claim.recovery,
        uncertainty=(answered - asked) / 2, claim=claim_id,
    )  # fmt: skip


@testcase(
    "AVAIL-MODBUS-TCP",
    title="A flood of Modbus TCP connections and requests does not disturb the essential performance",
    tags=TAGS,
    about=ABOUT,
    effects=[Effect.DATA],
    unqualified=True,
    slow=True,
)
@each("claim_id, surface", modbus_tcp)
def test_modbus_tcp_flood(case: Case, claim_id: str, surface: str) -> None:
    door = case.bench.modbus(surface)
    link = case.bench.rig.file.links[door.spec.link]
    if not isinstance(link, ModbusTcpLinkSpec):
        raise Undecided(f"link {door.spec.link} is not Modbus TCP on this rig")
    begin(case, claim_id, surface, "a flood of connections and requests")
    pdu = door.any_read()
    answer = case.value(door.request(pdu), "an answer without load")
    message = struct.pack(">HHHB", 1, 0, len(pdu) + 1, door.spec.unit) + pdu
    counts = {}
    for what, half in (("busy", False), ("stopped in the middle of a request", True)):
        with case.step(f"{CONNECTIONS} connections, {what}, for {SECONDS / 2:g} s"):
            counts[what] = flood_tcp(
                case.bench.wiring.dialer,
                link.host,
                link.port,
                message=message,
                answer_size=len(message) - len(pdu) + len(answer),
                connections=CONNECTIONS,
                seconds=SECONDS / 2,
                half=half,
            )
    count = counts["busy"]
    load = "; ".join(f"{what}: {count}" for what, count in counts.items())
    case.check("the flood reached the device", held=count.received > 0 or None, expected="answers", observed=load)
    prove_recovery(case, claim_id, surface, load=load)


@testcase(
    "AVAIL-CAN",
    title="A flood of high-priority CAN frames does not disturb the essential performance",
    tags=TAGS,
    about=ABOUT,
    effects=[Effect.DATA],
    hardware="the load a bus and a controller take depends on their timing",
    unqualified=True,
    slow=True,
)
@each("claim_id, surface", buses)
def test_can_flood(case: Case, claim_id: str, surface: str) -> None:
    door = case.bench.bus_commands(surface)
    bus = case.bench.wiring.can(door.spec.link)
    begin(case, claim_id, surface, "a flood of frames")
    rng, tick = random.Random(SEED), threading.Event()
    urgent = [number for number in range(16) if number not in door.spec.known_ids]
    right = door.command(door.spec.clock)
    if isinstance(right, NoAnswer):
        case.value(right, "a command to forge")
        return
    forged = CanFrame(door.spec.command_id, bytes([right.opcode, 0, 0, 0, 0, 0, 0, 0]))
    sent, began = 0, time.monotonic()
    with case.step(f"{FRAMES_A_SECOND} frames a second for {SECONDS:g} s"):
        while (passed := time.monotonic() - began) < SECONDS:
            due = int(passed * FRAMES_A_SECOND) - sent
            for _ in range(min(due, FRAMES_A_SECOND // 50)):
                # One in ten is a command with a wrong authenticator and a counter of zero, which makes work.
                bus.send(forged if sent % 10 == 0 else CanFrame(rng.choice(urgent), rng.randbytes(8)))
                sent += 1
            tick.wait(0.005)
    prove_recovery(case, claim_id, surface, load=f"{sent} frames in {SECONDS:g} s")


@testcase(
    "AVAIL-CONSOLE",
    title="A flood of characters on the console does not disturb the essential performance",
    tags=TAGS,
    about=ABOUT,
    effects=[Effect.DATA],
    unqualified=True,
    slow=True,
)
@each("claim_id, surface", consoles)
def test_console_flood(case: Case, claim_id: str, surface: str) -> None:
    door = case.bench.dialogue(surface)
    begin(case, claim_id, surface, "a flood of characters")
    stream = case.bench.wiring.open_stream(door.spec.link)
    if isinstance(stream, NoAnswer):
        case.value(stream, "the console")
        return
    rng, tick = random.Random(SEED), threading.Event()
    sent, began = 0, time.monotonic()
    with case.step(f"{CHARACTERS_A_SECOND} characters a second for {SECONDS:g} s"):
        while (passed := time.monotonic() - began) < SECONDS:
            due = int(passed * CHARACTERS_A_SECOND) - sent
            if due > 0:
                # Endless lines and control characters, now and then an end; no declared account's name. More ends
                # would be a queue of log-ins in the bench's own buffers, which outlasts the flood.
                text = bytes(13 if rng.randrange(1000) == 0 else rng.choice(NOISE) for _ in range(due))
                stream.send(text)
                sent += due
            tick.wait(0.02)
        stream.send(door.spec.line_end.encode())
    prove_recovery(case, claim_id, surface, load=f"{sent} characters in {SECONDS:g} s")
