"""Commands with the right authenticator that ask for what the device must not do."""

from __future__ import annotations

from harness.case import Case
from harness.device.bus_commands import Command
from harness.device.outcomes import Accepted, NoAnswer, Outcome, Unintelligible
from harness.rig.claims import BusCommandClaim
from harness.rig.rig_file import Effect
from harness.testcase import About, contributes, each_surface, testcase, verifies


@testcase(
    "CAN-RANGE",
    title="Bus commands with an unknown opcode or an argument out of range are refused, those at its ends accepted",
    tags=[
        verifies("NMPA-2022/IF-EDX", "NMPA-2020/IFU-iface", "FDA-VC/VULN-ABUSE", "ANSM-2019/CRIT-I"),
        contributes("ANSM-2019/SAFE-FIRST", "NMPA-2022/VV-METH"),
    ],
    about=About(property="integrity", phase="design", method="function", threat="malformed bus command"),
    effects=[Effect.CONFIGURATION],
    unqualified=True,
)
@each_surface(BusCommandClaim)
def test_command_range(case: Case, claim_id: str, surface: str) -> None:
    door = case.bench.bus_commands(surface)
    effect = door.spec.harmless
    mirror = case.bench.surface(effect.surface)

    def send(opcode: int, argument: int) -> Outcome[int]:
        right = door.command(door.spec.clock)
        if isinstance(right, NoAnswer):
            return right
        command: Command = door.sign(opcode, argument, counter=right.counter)
        return door.send(command, operation=f"opcode {opcode} argument {argument}")

    case.attack(surface, "unknown opcodes and arguments out of range, with the right authenticator")
    before = case.value(mirror.read(effect.field), f"{effect.field} on {effect.surface}")
    with case.step("Every opcode that is not declared"):
        accepted, undecided = [], []
        for opcode in door.unknown_opcodes():
            outcome = send(opcode, effect.argument)
            if isinstance(outcome, NoAnswer):
                case.value(outcome, f"opcode {opcode}")
            elif isinstance(outcome, Accepted):
                accepted.append(opcode)
            elif isinstance(outcome, Unintelligible):
                undecided.append(opcode)
        case.check(
            "opcodes accepted that are not declared",
            held=False if accepted else None if undecided else True,
            expected="none of them, all refused",
            observed=f"accepted {accepted}, undecided {undecided}",
            claim=claim_id,
        )
        after = case.value(mirror.read(effect.field), f"{effect.field} on {effect.surface}")
        case.unchanged(f"{effect.field} after unknown opcodes", before=before, after=after, claim=claim_id)

    for name, (low, high) in door.spec.ranges.items():
        opcode = door.spec.opcodes[name]
        with case.step(f"{name} out of its range"):
            for argument in sorted({0, low - 1, high + 1, 0x7FFF, 0xFFFF} & set(range(0x10000))):
                if not low <= argument <= high:
                    case.expect_refused(f"{name} {argument}", send(opcode, argument), claim=claim_id)
            after = case.value(mirror.read(effect.field), f"{effect.field} on {effect.surface}")
            case.unchanged(f"{effect.field} after {name} out of range", before=before, after=after, claim=claim_id)
        with case.step(f"{name} at the ends of its range"):
            for argument in (low, high):
                case.expect_accepted(f"{name} {argument}", send(opcode, argument), claim=claim_id)
    case.twin("the harmless command", send(door.spec.opcodes[effect.opcode], effect.argument))
