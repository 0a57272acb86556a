"""Authenticated commands on CAN as a surface."""

from __future__ import annotations

import time
from dataclasses import dataclass

from harness.device.outcomes import Accepted, NoAnswer, Outcome, Refused, Unintelligible
from harness.device.surface import Surface, Wiring
from harness.device.uds import cmac
from harness.device.values import Value
from harness.errors import UsageError
from harness.links.can import CanFrame
from harness.rig import device_file as spec_of

__all__ = ["BusCommandSurface", "Command"]


@dataclass(frozen=True, slots=True)
class Command:
    """One command frame, so that a testcase can send it again, or change it."""

    opcode: int
    argument: int
    counter: int
    authenticator: bytes

    @property
    def payload(self) -> bytes:
        """The eight bytes on the bus."""
        return bytes([self.opcode]) + self.argument.to_bytes(2) + self.counter.to_bytes(2) + self.authenticator


class BusCommandSurface(Surface):
    """Command frames with counter and truncated CMAC, as the device file describes them."""

    #: Seconds between two session frames at most.
    SESSION_WITHIN = 1.5

    def __init__(self, name: str, wiring: Wiring, *, spec: spec_of.BusCommandSurface) -> None:
        super().__init__(name, wiring)
        self.spec = spec
        self._counter = 0
        self._last_session = b""

    def command(self, opcode: str, argument: int = 0) -> Command | NoAnswer:
        """Make the next right command: fresh counter, right authenticator for the device's present session."""
        session = self._session()
        if session is None:
            return NoAnswer("no session frame on the bus")
        if session != self._last_session:
            self._last_session, self._counter = session, 0
        self._counter += 1
        return self.sign(self.spec.opcodes[opcode], argument, counter=self._counter)

    def sign(self, opcode: int, argument: int, *, counter: int, session: bytes | None = None) -> Command:
        """Make a command with the right authenticator for any counter, in the present session or another one."""
        body = bytes([opcode]) + argument.to_bytes(2) + counter.to_bytes(2)
        message = (self._last_session if session is None else session) + self.spec.command_id.to_bytes(2) + body
        return Command(opcode, argument, counter, cmac(bytes.fromhex(self.spec.key), message)[:3])

    def send(self, command: Command, *, operation: str = "command") -> Outcome[int]:
        """Send a command frame; accepted with the value the device answers."""
        outcome = self._send(command)
        self._seen(operation, outcome)
        return outcome

    def do(self, opcode: str, argument: int = 0) -> Outcome[int]:
        """Make and send the next right command."""
        command = self.command(opcode, argument)
        if isinstance(command, NoAnswer):
            self._seen(opcode, command)
            return command
        return self.send(command, operation=opcode)

    def read(self, field: str) -> Outcome[Value]:
        """Read the uptime; a command bus knows no other field."""
        if field != "uptime":
            raise UsageError(f"surface {self.name} declares no field {field!r}", hint="read it on another surface")
        outcome = self.do(self.spec.clock)
        if isinstance(outcome, Accepted):
            return Accepted(outcome.value * self.spec.clock_scale, sent=outcome.sent, received=outcome.received)
        return outcome

    @property
    def uptime_wraps(self) -> float:
        """Of the 32 bits that an answer has for it."""
        return (1 << 32) * self.spec.clock_scale

    def contrast(self) -> Outcome[object]:
        """Send a right command with an opcode the device does not have.

        It says nothing about authentication: a device that checks none is alive all the same.
        """
        right = self.command(self.spec.clock)
        if isinstance(right, NoAnswer):
            return right
        unknown = self.unknown_opcodes()[-1]
        return self.send(self.sign(unknown, 0, counter=right.counter), operation="unknown opcode")

    def own_ids(self) -> set[int]:
        """Return the identifiers the device itself sends, as far as they belong to commands and status."""
        return {i for i in self.spec.known_ids if i not in self.spec.listens} | {self.spec.answer_id}

    def unknown_opcodes(self) -> list[int]:
        """Return every opcode the device does not declare, in order."""
        return sorted(set(range(256)) - set(self.spec.opcodes.values()))

    @property
    def session(self) -> bytes:
        """The device's session as last used for a command; empty before the first."""
        return self._last_session

    def _session(self) -> bytes | None:
        can = self.wiring.can(self.spec.link)
        since = time.monotonic_ns() - int(self.SESSION_WITHIN * 1e9)

        def announces(frame: CanFrame) -> bool:
            return frame.can_id == self.spec.session_id and not (frame.extended or frame.remote or frame.error)

        # The newest counts: the device may have begun another session just now.
        seen = [frame.data for frame in can.history(since) if announces(frame)]
        if seen:
            return seen[-1]
        frame = can.wait_for(announces, timeout=self.SESSION_WITHIN)
        return None if frame is None else frame.data

    def _send(self, command: Command) -> Outcome[int]:
        can = self.wiring.can(self.spec.link)
        since = time.monotonic_ns()
        payload = command.payload
        can.send(CanFrame(can_id=self.spec.command_id, data=payload))
        head = bytes([command.opcode]), command.counter.to_bytes(2)
        answer = can.wait_for(
            lambda f: (
                f.can_id == self.spec.answer_id
                and not (f.extended or f.remote or f.error)
                and (f.data[:1], f.data[2:4]) == head
            ),
            timeout=self.wiring.answer_within,
            since_ns=since,
        )
        if answer is None:
            return NoAnswer(sent=payload)
        if len(answer.data) != 8:
            return Unintelligible("wrong length", sent=payload, received=answer.data)
        result = answer.data[1]
        if result == self.spec.accepted:
            return Accepted(int.from_bytes(answer.data[4:8]), sent=payload, received=answer.data)
        if result in self.spec.refusals:
            return Refused(self.spec.refusals[result], code=result, sent=payload, received=answer.data)
        return Unintelligible(f"unknown result {result}", sent=payload, received=answer.data)
