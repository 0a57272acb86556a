"""A Modbus server as a surface: the register map of the device file over Modbus TCP or RTU."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from harness.device.outcomes import Accepted, NoAnswer, Outcome, Refused, Unintelligible
from harness.device.surface import Surface, Wiring
from harness.device.values import Value, decode_value, wraps_after
from harness.errors import UsageError
from harness.links.modbus import (
    Closed,
    Garbled,
    ModbusLink,
    NoConnection,
    decode_registers,
    read_registers,
    write_register,
    write_registers,
)
from harness.rig import device_file as spec_of

__all__ = ["ILLEGAL_ADDRESS", "ILLEGAL_FUNCTION", "ILLEGAL_VALUE", "ModbusSurface"]

ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE = 1, 2, 3
"""Exception codes of the Modbus application protocol V1.1b3, section 7."""

BLOCK = 125
"""Most registers one request may read (Modbus application protocol V1.1b3, section 6.3)."""


class ModbusSurface(Surface):
    """A Modbus server as the device file describes it."""

    def __init__(self, name: str, wiring: Wiring, *, spec: spec_of.ModbusSurface) -> None:
        super().__init__(name, wiring)
        self.spec = spec

    def request(self, pdu: bytes, *, operation: str = "request", recorded: bool = True) -> Outcome[bytes]:
        """Send a request PDU; accepted with the reply PDU, refused with the exception code.

        A sweep may leave single requests unrecorded as operations: the capture of the link has them all.
        """
        outcome = self._request(pdu)
        if recorded:
            self._seen(operation, outcome)
        return outcome

    def any_read(self) -> bytes:
        """Return the request that reads the first declared register."""
        register = next(iter(self.spec.registers.values()))
        return read_registers(4 if register.table == "input" else 3, register.address, register.count)

    def raw(self, adu: bytes, *, operation: str, timeout: float | None = None) -> Outcome[bytes]:
        """Send bytes as they are (header or checksum included); accepted with whatever comes back."""
        within = self.wiring.answer_within if timeout is None else timeout
        reply = self._link.raw(adu, timeout=within)
        outcome: Outcome[bytes]
        match reply:
            case None:
                outcome = NoAnswer(sent=adu)
            case NoConnection(reason=reason):
                outcome = NoAnswer(f"no connection: {reason}", sent=adu)
            case Closed(raw=rest):
                outcome = NoAnswer("the device closed the connection", sent=adu, received=rest)
            case _:
                outcome = Accepted(reply, sent=adu, received=reply)
        self._seen(operation, outcome)
        return outcome

    def reconnect(self) -> None:
        """Drop the connection and connect anew (TCP), or wait until the line is quiet (RTU)."""
        self._link.reconnect(timeout=self.wiring.answer_within)

    def read_register(self, name: str) -> Outcome[Value]:
        """Read a declared register and decode it."""
        register = self._register(name)
        outcome = self._read_words(register.table, register.address, register.count, operation=f"read {name}")
        if not isinstance(outcome, Accepted):
            return outcome
        value = decode_value(outcome.value, register.type, register.scale)
        if value is None:
            return Unintelligible(f"not {register.type}", sent=outcome.sent, received=outcome.received)
        return Accepted(value, sent=outcome.sent, received=outcome.received)

    def _read_words(self, table: str, address: int, count: int, *, operation: str) -> Outcome[bytes]:
        """Read `count` registers; accepted with their 2 × `count` bytes."""
        outcome = self.request(read_registers(4 if table == "input" else 3, address, count), operation=operation)
        if not isinstance(outcome, Accepted):
            return outcome
        data = outcome.value[2:]
        if len(outcome.value) < 2 or outcome.value[1] != len(data) or len(data) != 2 * count:
            return Unintelligible("wrong length", sent=outcome.sent, received=outcome.value)
        return Accepted(data, sent=outcome.sent, received=outcome.received)

    def number(self, name: str) -> Outcome[int]:
        """Read a declared 16-bit register as the number that stands in it, unscaled."""
        register = self._register(name)
        function = 4 if register.table == "input" else 3
        outcome = self.request(read_registers(function, register.address, 1), operation=f"read {name}")
        if not isinstance(outcome, Accepted):
            return outcome
        return Accepted(decode_registers(outcome.value)[0], sent=outcome.sent, received=outcome.received)

    def holding(self, access: str) -> dict[str, spec_of.Register]:
        """Return the declared holding registers of one access (`read`, `read-write`, `protected`), by name."""
        return {
            name: register
            for name, register in self.spec.registers.items()
            if register.table == "holding" and register.access == access
        }

    def addresses(self, table: str) -> set[int]:
        """Return every address of a table that a declared register covers."""
        return {
            address
            for register in self.spec.registers.values()
            if register.table == table
            for address in range(register.address, register.address + register.count)
        }

    def write(self, name: str, value: int, *, several: bool = False) -> Outcome[bytes]:
        """Write one declared 16-bit register, by function 6, or by 16 when `several`."""
        address = self._register(name).address
        pdu = write_registers(address, [value]) if several else write_register(address, value)
        outcome = self.request(pdu, operation=f"write {name}")
        if isinstance(outcome, Accepted) and outcome.value[:5] != pdu[:5]:
            return Unintelligible("the reply does not repeat the write", sent=pdu, received=outcome.value)
        return outcome

    def read(self, field: str) -> Outcome[Value]:
        """Read a field of the device by its register."""
        register = self.spec.fields.get(field)
        if register is None:
            raise UsageError(f"surface {self.name} declares no field {field!r}", hint="add it to the device file")
        return self.read_register(register)

    @property
    def uptime_wraps(self) -> float | None:
        """Of the register that holds it."""
        register = self._register(self.spec.fields["uptime"])
        return wraps_after(register.type, register.scale)

    def read_all(self, fields: Sequence[str]) -> Outcome[dict[str, Value]]:
        """Read several fields, by one request where their registers follow on each other without a gap."""
        registers = {field: self._register(self.spec.fields.get(field, field)) for field in fields}
        block = sorted(registers.values(), key=lambda register: register.address)
        first, count = block[0], sum(register.count for register in block)
        gapless = all(one.address + one.count == other.address for one, other in pairwise(block))
        if not gapless or count > BLOCK or {register.table for register in block} != {first.table}:
            return super().read_all(fields)
        read = self._read_words(first.table, first.address, count, operation=f"read {', '.join(fields)}")
        if not isinstance(read, Accepted):
            return read
        values: dict[str, Value] = {}
        for field, register in registers.items():
            start = 2 * (register.address - first.address)
            value = decode_value(read.value[start : start + 2 * register.count], register.type, register.scale)
            if value is None:
                return Unintelligible(f"{field} is not {register.type}", sent=read.sent, received=read.received)
            values[field] = value
        return Accepted(values, sent=read.sent, received=read.received)

    def unmapped(self, table: str) -> int:
        """Return the highest address of a table that no declared register covers."""
        used = self.addresses(table)
        return next(address for address in range(65535, -1, -1) if address not in used)

    def contrast(self) -> Outcome[object]:
        """Read an address outside the map."""
        return self.request(read_registers(4, self.unmapped("input"), 1), operation="read outside the map")

    def _register(self, name: str) -> spec_of.Register:
        register = self.spec.registers.get(name)
        if register is None:
            raise UsageError(f"surface {self.name} declares no register {name!r}", hint="add it to the device file")
        return register

    @property
    def _link(self) -> ModbusLink:
        return self.wiring.modbus(self.spec.link)

    def _request(self, pdu: bytes) -> Outcome[bytes]:
        reply = self._link.request(pdu, timeout=self.wiring.answer_within, unit=self.spec.unit)
        match reply:
            case None:
                return NoAnswer(sent=pdu)
            case NoConnection(reason=reason):
                return NoAnswer(f"no connection: {reason}", sent=pdu)
            case Closed(raw=rest):
                return NoAnswer("the device closed the connection", sent=pdu, received=rest)
            case Garbled(raw=raw):
                return Unintelligible("not a reply to this request", sent=pdu, received=raw)
        if reply.exception is not None:
            return Refused(f"exception {reply.exception}", code=reply.exception, sent=pdu, received=reply.pdu)
        return Accepted(reply.pdu, sent=pdu, received=reply.pdu)
