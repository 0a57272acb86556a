"""Commands on the bus without the right authenticator."""

from __future__ import annotations

import zlib
from dataclasses import replace

from harness.case import Case
from harness.device.bus_commands import BusCommandSurface, Command
from harness.device.outcomes import Accepted, NoAnswer
from harness.links.can import CanFrame
from harness.rig.claims import BusCommandClaim
from harness.rig.rig_file import Effect
from harness.testcase import About, contributes, each_surface, testcase, verifies


def forgeries(door: BusCommandSurface, right: Command) -> dict[str, bytes]:
    """What somebody without the key would put in the place of the authenticator of `right`."""
    body = right.payload[:5]
    size = len(right.authenticator)
    clock = door.sign(door.spec.opcodes[door.spec.clock], 0, counter=right.counter)
    other_argument = door.sign(right.opcode, right.argument ^ 1, counter=right.counter)
    other_counter = door.sign(right.opcode, right.argument, counter=right.counter + 1)
    return {
        "a wrong authenticator": bytes(byte ^ 0x5A for byte in right.authenticator),
        "an authenticator with one wrong bit": right.authenticator[:-1] + bytes([right.authenticator[-1] ^ 1]),
        "a zero authenticator": bytes(size),
        "an authenticator of ones": b"\xff" * size,
        "a CRC-32 of the command": zlib.crc32(body).to_bytes(4)[-size:],
        "a CRC-32 of identifier and command": zlib.crc32(door.spec.command_id.to_bytes(2) + body).to_bytes(4)[:size],
        "a sum of the command": (sum(body) & 0xFFFF).to_bytes(size),
        "the authenticator of another command": clock.authenticator,
        "the authenticator of another argument": other_argument.authenticator,
        "the authenticator of another counter": other_counter.authenticator,
    }


@testcase(
    "CAN-AUTHENTICATOR",
    title="A bus command without the right authenticator is refused and changes nothing",
    tags=[
        verifies("NMPA-2022/NAUT", "NMPA-2022/TXIG", "NMPA-2020/IFU-iface", "ANSM-2019/CRIT-I", "FDA-A1/A"),
        contributes("FDA-VC/REQ", "NMPA-2022/VV-THREAT", "ANSM-2019/SAFE-FIRST", "FDA-VC/THREAT"),
    ],
    about=About(property="integrity", phase="design", method="penetration", threat="spoofed bus command"),
    effects=[Effect.CONFIGURATION],
    severity="blocker",
)
@each_surface(BusCommandClaim)
def test_command_authentication(case: Case, claim_id: str, surface: str) -> None:
    door = case.bench.bus_commands(surface)
    effect = door.spec.harmless
    mirror = case.bench.surface(effect.surface)

    case.attack(surface, "commands with authenticators made without the key")
    before = case.value(mirror.read(effect.field), f"{effect.field} on {effect.surface}")
    names = list(forgeries(door, case.value(_command(door), "a right command to forge")))
    for name in names:
        with case.step(f"A command with {name}"):
            right = case.value(_command(door), "a right command to forge")
            forged = replace(right, authenticator=forgeries(door, right)[name])
            if forged.authenticator == right.authenticator:
                continue  # by chance the right one
            claim = "BASE-CHECKSUM" if "CRC" in name or "sum" in name else claim_id
            case.expect_refused(name, door.send(forged), claim=claim)
            after = case.value(mirror.read(effect.field), f"{effect.field} on {effect.surface}")
            case.unchanged(f"{effect.field} after {name}", before=before, after=after, claim=claim)

    with case.step("A command without an authenticator"):
        right = case.value(_command(door), "a right command to cut")
        bus = case.bench.wiring.can(door.spec.link)
        for size in range(len(right.payload)):
            bus.send(CanFrame(door.spec.command_id, right.payload[:size]))
        # No answer is demanded of a frame that is none; the next command shows that these have been dealt with.
        case.value(door.do(door.spec.clock), "a command after the cut ones")
        after = case.value(mirror.read(effect.field), f"{effect.field} on {effect.surface}")
        case.unchanged(f"{effect.field} after cut commands", before=before, after=after, claim=claim_id)

    with case.step("The same command with the right authenticator"):
        case.twin("the right authenticator", door.do(effect.opcode, effect.argument))
        after = case.value(mirror.read(effect.field), f"{effect.field} on {effect.surface}")
        wanted = round(effect.argument * effect.scale, 6)
        case.check("the twin's effect is read back", held=after == wanted or None, expected=wanted, observed=after)


def _command(door: BusCommandSurface) -> Accepted[Command] | NoAnswer:
    command = door.command(door.spec.harmless.opcode, door.spec.harmless.argument)
    return command if isinstance(command, NoAnswer) else Accepted(command)
