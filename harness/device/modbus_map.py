"""A Modbus server as a surface: the register map of the device file over Modbus TCP or RTU."""

from __future__ import annotations

from harness.device.outcomes import Accepted, NoAnswer, Outcome, Refused, Unintelligible
from harness.device.surface import Surface, Wiring
from harness.device.values import Value, decode_value
from harness.errors import UsageError
from harness.links.modbus import Closed, Garbled, NoConnection, read_registers, write_register, write_registers
from harness.rig import device_file as spec_of

__all__ = ["ILLEGAL_ADDRESS", "ILLEGAL_FUNCTION", "ILLEGAL_VALUE", "ModbusSurface"]

ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE = 1, 2, 3
"""Exception codes of the Modbus application protocol V1.1b3, section 7."""


class ModbusSurface(Surface):
    """A Modbus server as the device file describes it."""

    def __init__(self, name: str, wiring: Wiring, *, spec: spec_of.ModbusSurface) -> None:
        super().__init__(name, wiring)
        self.spec = spec

    def request(self, pdu: bytes, *, operation: str = "request") -> Outcome[bytes]:
        """Send a request PDU; accepted with the reply PDU, refused with the exception code."""
        outcome = self._request(pdu)
        self._seen(operation, outcome)
        return outcome

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
        used = {
            address
            for register in self.spec.registers.values()
            if register.table == table
            for address in range(register.address, register.address + register.count)
        }
        return next(address for address in range(65535, -1, -1) if address not in used)

    def contrast(self) -> Outcome[object]:
        """Read an address outside the map."""
        return self.request(read_registers(4, self.unmapped("input"), 1), operation="read outside the map")

    def _register(self, name: str) -> spec_of.Register:
        register = self.spec.registers.get(name)
        if register is None:
            raise UsageError(f"surface {self.name} declares no register {name!r}", hint="add it to the device file")
        return register

    def _request(self, pdu: bytes) -> Outcome[bytes]:
        link = self.wiring.modbus(self.spec.link)
        reply = link.request(pdu, timeout=self.wiring.answer_within, unit=self.spec.unit)
        match reply:
            case None:
                return NoAnswer(sent=pdu)
            case NoConnection(reason=reason):
                return NoAnswer(f"no connection: {reason}", sent=pdu)
            case Closed():
                return NoAnswer("the device closed the connection", sent=pdu)
            case Garbled(raw=raw):
                return Unintelligible("not a reply to this request", sent=pdu, received=raw)
        if reply.exception is not None:
            return Refused(f"exception {reply.exception}", code=reply.exception, sent=pdu, received=reply.pdu)
        return Accepted(reply.pdu, sent=pdu, received=reply.pdu)


