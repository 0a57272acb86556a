"""A UDS server as a surface: sessions, security access, data by identifier (ISO 14229-1)."""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC

from harness.device.outcomes import Accepted, NoAnswer, Outcome, Refused, Unintelligible
from harness.device.surface import Surface, Wiring
from harness.device.values import Value, decode_value, wraps_after
from harness.errors import UsageError
from harness.links.uds import NegativeReply, PositiveReply, UnintelligibleReply
from harness.rig import bus_surfaces as spec_of

__all__ = ["UdsSurface", "cmac"]

SESSION_CONTROL, ECU_RESET, READ_DATA, SECURITY_ACCESS, TESTER_PRESENT = 0x10, 0x11, 0x22, 0x27, 0x3E


def cmac(key: bytes, message: bytes) -> bytes:
    """Return AES-CMAC (RFC 4493) of `message`."""
    mac = CMAC(AES(key))
    mac.update(message)
    return mac.finalize()


class UdsSurface(Surface):
    """A UDS server as the device file describes it."""

    def __init__(self, name: str, wiring: Wiring, *, spec: spec_of.UdsSurface) -> None:
        super().__init__(name, wiring)
        self.spec = spec

    def request(self, payload: bytes, *, operation: str = "request", recorded: bool = True) -> Outcome[bytes]:
        """Send a request; accepted with the data after the service byte, refused with the negative response code.

        A sweep may leave single requests unrecorded as operations: the capture of the link has them all.
        """
        outcome = self._request(payload)
        if recorded:
            self._seen(operation, outcome)
        return outcome

    def read_identifier(self, identifier: int, *, recorded: bool = True) -> Outcome[bytes]:
        """Read any data identifier; accepted with its data."""
        number = identifier.to_bytes(2)
        outcome = self.request(bytes([READ_DATA]) + number, operation=f"read 0x{identifier:04X}", recorded=recorded)
        if isinstance(outcome, Accepted):
            if outcome.value[:2] != number or len(outcome.value) < 3:
                return Unintelligible("no data of that identifier", sent=outcome.sent, received=outcome.received)
            return Accepted(outcome.value[2:], sent=outcome.sent, received=outcome.received)
        return outcome

    def reset(self) -> Outcome[bytes]:
        """Ask for the declared reset."""
        if self.spec.reset is None:
            raise UsageError(f"surface {self.name} declares no reset", hint="add surfaces.….reset")
        return self.request(bytes([ECU_RESET, self.spec.reset]), operation="reset")

    def unlock(self) -> Outcome[bytes]:
        """Enter the session of security access, ask for a seed and send the right key."""
        entered = self.enter(self.security.session)
        if not isinstance(entered, Accepted):
            return entered
        seed = self.seed()
        return self.send_key(self.right_key(seed.value)) if isinstance(seed, Accepted) else seed

    def enter(self, session: str) -> Outcome[bytes]:
        """Enter a declared diagnostic session."""
        return self.request(bytes([SESSION_CONTROL, self.spec.sessions[session]]), operation=f"session {session}")

    def seed(self) -> Outcome[bytes]:
        """Ask for a seed; accepted with the seed bytes."""
        level = self.security.level
        outcome = self.request(bytes([SECURITY_ACCESS, level]), operation="request seed")
        if isinstance(outcome, Accepted):
            if outcome.value[:1] != bytes([level]) or len(outcome.value) < 2:
                return Unintelligible("no seed in the answer", sent=outcome.sent, received=outcome.received)
            return Accepted(outcome.value[1:], sent=outcome.sent, received=outcome.received)
        return outcome

    def send_key(self, key: bytes) -> Outcome[bytes]:
        """Send a key for the seed last asked for."""
        return self.request(bytes([SECURITY_ACCESS, self.security.level + 1]) + key, operation="send key")

    def right_key(self, seed: bytes) -> bytes:
        """Return the key that belongs to `seed`."""
        security = self.security
        return cmac(bytes.fromhex(security.key), seed)[: security.length]

    def read(self, field: str) -> Outcome[Value]:
        """Read a field of the device by its data identifier."""
        identifier = self.spec.identifiers.get(field)
        if identifier is None:
            raise UsageError(f"surface {self.name} declares no field {field!r}", hint="add it to the device file")
        outcome = self.read_identifier(identifier.id)
        if not isinstance(outcome, Accepted):
            return outcome
        value = decode_value(outcome.value, identifier.type, identifier.scale)
        if value is None:
            return Unintelligible(f"not {identifier.type}", sent=outcome.sent, received=outcome.received)
        return Accepted(value, sent=outcome.sent, received=outcome.received)

    @property
    def uptime_wraps(self) -> float | None:
        """Of the identifier that holds it."""
        identifier = self.spec.identifiers["uptime"]
        return wraps_after(identifier.type, identifier.scale)

    def contrast(self) -> Outcome[object]:
        """Read an identifier the device does not have."""
        return self.read_identifier(self.spec.unknown_identifier)

    @property
    def security(self) -> spec_of.UdsSecurity:
        """How security access goes, as declared."""
        if self.spec.security is None:
            raise UsageError(f"surface {self.name} declares no security access", hint="add surfaces.….security")
        return self.spec.security

    def _request(self, payload: bytes) -> Outcome[bytes]:
        client = self.wiring.uds(self.spec.link, self.spec.request_id, self.spec.response_id)
        reply = client.request(payload, timeout=self.wiring.answer_within)
        match reply:
            case None:
                return NoAnswer(sent=payload)
            case PositiveReply(data=data):
                return Accepted(data, sent=payload, received=bytes([(payload[0] + 0x40) & 0xFF]) + data)
            case NegativeReply(service=service, code=code, name=name):
                return Refused(f"{name} (0x{code:02X})", code=code, sent=payload, received=bytes([0x7F, service, code]))
            case UnintelligibleReply(raw=raw):
                return Unintelligible("not an answer to this request", sent=payload, received=raw)
