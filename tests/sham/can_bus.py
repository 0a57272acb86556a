"""CAN status and commands (VP1-ICD §4), and what of them goes over the bus."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

from console import Later
from cryptography.hazmat.primitives.ciphers.algorithms import AES128
from cryptography.hazmat.primitives.cmac import CMAC
from iso_tp import IsoTp
from mind import Mind
from state import CAN_KEY, RATE_MAX, RATE_MIN

if TYPE_CHECKING:
    from application import Application

THERAPY, VOLUME, SESSION = 0x100, 0x101, 0x102
COMMAND, COMMAND_ANSWER = 0x200, 0x201
UDS_REQUEST, UDS_RESPONSE = 0x7E0, 0x7E8
EXTENDED, REMOTE = 0x8000_0000, 0x4000_0000
"""Flags on an identifier of 29 bits and on a remote frame, as in Linux."""


def pack(identifier: int, data: bytes) -> bytes:
    """One frame as bytes: identifier (4 bytes), data."""
    return struct.pack(">I", identifier) + data


def unpack(frame: bytes) -> tuple[int, bytes]:
    """The reverse of `pack`."""
    return struct.unpack(">I", frame[:4])[0], frame[4:]


def authenticator(session: bytes, command: bytes) -> bytes:
    """The three bytes that authenticate opcode, argument and counter (VP1-ICD §4.2)."""
    mac = CMAC(AES128(CAN_KEY))
    mac.update(session + struct.pack(">H", COMMAND) + command)
    return mac.finalize()[:3]


class CanServer:
    """The application's side of CAN."""

    def __init__(self, application: Application) -> None:
        self._app = application
        self._counter = 0
        self.session = application.rng.randbytes(8)
        self.commands = 0

    def status(self, tick: int) -> list[tuple[int, bytes]]:
        """The frames of this tick of 0.1 s."""
        therapy = self._app.therapy
        therapy.tick()
        frames = [
            (
                THERAPY,
                struct.pack(">BBHHBB", therapy.state, therapy.alarm, therapy.set_rate, therapy.flow, tick & 0xFF, 0),
            ),
            (VOLUME, struct.pack(">II", int(therapy.volume_ul) & 0xFFFFFFFF, therapy.uptime_ms)),
        ]
        if "status-gap-during-update" in self._app.weaknesses and self._app.updates.busy:
            return []
        return [*frames, (SESSION, self.session)] if tick % 10 == 0 else frames

    def answer(self, command: bytes) -> bytes:
        """Judge and carry out the eight bytes of a command; the answer's eight bytes."""
        self.commands += 1
        self._app.asked_on_a_bus()
        opcode, argument, counter = struct.unpack(">BHH", command[:5])
        result = self._judge(opcode, argument, counter, command)
        value = 0
        if result == 0:
            self._counter = counter
            value = self._carry_out(opcode, argument)
        else:
            detail = ("mac", "counter", "range", "opcode")[result - 1]
            self._app.audit.refused("command", surface="can", detail=detail)
        return struct.pack(">BBHI", opcode, result, counter, value)

    def _judge(self, opcode: int, argument: int, counter: int, command: bytes) -> int:
        weaknesses = self._app.weaknesses
        genuine = authenticator(self.session, command[:5]) == command[5:]
        if not genuine and "can-no-auth" not in weaknesses:
            return 1
        if counter <= self._counter and "can-counter-unchecked" not in weaknesses:
            return 2
        if opcode not in (1, 2, 3, 4):
            return 4
        if opcode == 3 and not RATE_MIN <= argument <= RATE_MAX:
            return 3
        return 0

    def _carry_out(self, opcode: int, argument: int) -> int:
        therapy, audit = self._app.therapy, self._app.audit
        if opcode == 4:
            return therapy.uptime_ms
        if opcode == 3:
            therapy.set(argument)
            audit.record("rate", surface="can", detail=f"{argument / 10:.1f}")
            return argument
        therapy.infuse(opcode == 1)
        audit.record("start" if opcode == 1 else "stop", surface="can")
        return therapy.state


class CanNode:
    """The pump as a node on the bus: sorts frames to commands and UDS, and broadcasts the status."""

    def __init__(self, *, mind: Callable[[], Mind], send: Callable[[bytes], None], later: Later) -> None:
        self._mind = mind
        self._send = send
        self._iso_tp = IsoTp(
            send=lambda data: send(pack(UDS_RESPONSE, data)),
            answer=lambda request: mind().uds(request),
            later=later,
        )

    def feed(self, frame: bytes) -> None:
        """A frame from the bus."""
        identifier, data = unpack(frame)
        if identifier == COMMAND and len(data) == 8:
            self._send(pack(COMMAND_ANSWER, self._mind().can(data)))
        elif identifier == UDS_REQUEST:
            self._iso_tp.feed(data)

    def close(self) -> None:
        """Forget a half-done transfer."""
        self._iso_tp.close()
