"""The operations of a surface on which nobody logs in: what there is to ask, and what each may change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from harness.device.bus_commands import BusCommandSurface
from harness.device.modbus_map import ModbusSurface
from harness.device.outcomes import Accepted, Outcome
from harness.device.surface import Surface
from harness.device.uds import UdsSurface

__all__ = ["Operation", "operations_of"]

CONFIGURATION = ("configuration",)
SESSION = ("the diagnostic session",)
UNDECLARED = ("what nobody has declared",)


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing to ask of a surface.

    `stake` are the effects it may have; those that are no effect of a rig file are never permitted. `refusal`: the
    device must refuse it.
    """

    name: str
    ask: Callable[[], Outcome[object]]
    stake: tuple[str, ...] = ()
    refusal: bool = False


def operations_of(surface: Surface) -> Iterator[Operation]:
    """Yield what can be asked of a surface, from harmless to heavy."""
    match surface:
        case ModbusSurface():
            for name in surface.spec.registers:
                yield Operation(f"read {name}", partial(surface.read_register, name))
        case UdsSurface():
            for name in surface.spec.identifiers:
                yield Operation(f"read {name}", partial(surface.read, name))
        case _:
            yield Operation("read uptime", partial(surface.read, "uptime"))
    yield Operation("what it does not have", surface.contrast, refusal=True)
    match surface:
        case ModbusSurface():
            for name, register in surface.holding("read-write").items():
                if register.count == 1:
                    yield Operation(f"write {name}", partial(_write_back, surface, name), stake=CONFIGURATION)
        case UdsSurface(spec=spec):
            for session in spec.sessions:
                yield Operation(f"session {session}", partial(surface.enter, session), stake=SESSION)
            if spec.security is not None:
                yield Operation("security access", surface.unlock, stake=SESSION)
            if spec.reset is not None:
                yield Operation("reset", surface.reset, stake=("restart",))
        case BusCommandSurface(spec=spec):
            harmless = spec.harmless
            for name in spec.opcodes:
                argument = harmless.argument if name == harmless.opcode else 0
                stake = CONFIGURATION if name == harmless.opcode else UNDECLARED
                if name != spec.clock:
                    yield Operation(name, partial(surface.do, name, argument), stake=stake)


def _write_back(surface: ModbusSurface, name: str) -> Outcome[object]:
    """Write into a register what stands in it."""
    present = surface.number(name)
    return surface.write(name, present.value) if isinstance(present, Accepted) else present
