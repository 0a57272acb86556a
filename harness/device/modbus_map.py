"""A Modbus server as a surface: the register map of the device file over Modbus TCP or RTU."""

from __future__ import annotations

from harness.device.outcomes import Accepted, NoAnswer, Outcome, Refused, Unintelligible
from harness.device.surface import Surface, Wiring
from harness.device.values import Value, decode_value
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
        function = 4 if register.table == "input" else 3
        outcome = self.request(read_registers(function, register.address, register.count), operation=f"read {name}")
        if not isinstance(outcome, Accepted):
            return outcome
        data = outcome.value[2:]
        if len(outcome.value) < 2 or outcome.value[1] != len(data) or len(data) != 2 * register.count:
            return Unintelligible("wrong length", sent=outcome.sent, received=outcome.value)
        value = decode_value(data, register.type, register.scale)
        if value is None:
            return Unintelligible(f"not {register.type}", sent=outcome.sent, received=outcome.value)
        return Accepted(value, sent=outcome.sent, received=outcome.received)

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
