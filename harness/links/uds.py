"""UDS (ISO 14229-1): requests and what devices reply, over ISO-TP.

A negative response is an answer like any other. udsoncan lends the names of services and codes.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from udsoncan import services  # noqa: F401 - makes the service classes known
from udsoncan.BaseService import BaseService
from udsoncan.ResponseCode import ResponseCode

from harness.links.base import Deadline
from harness.links.isotp import IsoTpLink

__all__ = [
    "NegativeReply",
    "PositiveReply",
    "UdsClient",
    "UdsReply",
    "UnintelligibleReply",
    "code_name",
    "decode_reply",
    "service_name",
]

NEGATIVE = 0x7F
RESPONSE_PENDING = 0x78
_POSITIVE_OFFSET = 0x40
_SUPPRESS = 0x80

# How many bytes after the service a positive response repeats (ISO 14229-1, the services' response tables).
_REPEATED = {0x10: 1, 0x11: 1, 0x19: 1, 0x22: 2, 0x24: 2, 0x27: 1, 0x28: 1, 0x29: 1, 0x2C: 1, 0x2E: 2, 0x2F: 2}
_REPEATED |= {0x31: 3, 0x36: 1, 0x3E: 1, 0x85: 1}
_WITH_SUB_FUNCTION = {0x10, 0x11, 0x19, 0x27, 0x28, 0x29, 0x2C, 0x31, 0x3E, 0x85}


@dataclass(frozen=True, slots=True)
class PositiveReply:
    """A positive response: the service asked for and what follows the response identifier."""

    service: int
    data: bytes


@dataclass(frozen=True, slots=True)
class NegativeReply:
    """A negative response: the service asked for, the code and its name."""

    service: int
    code: int
    name: str


@dataclass(frozen=True, slots=True)
class UnintelligibleReply:
    """A message that is no answer to the request."""

    raw: bytes


UdsReply = PositiveReply | NegativeReply


def service_name(service: int) -> str:
    """Return the name of a request service identifier, or its number."""
    known = BaseService.from_request_id(service)
    return str(known.get_name()) if known is not None else f"0x{service:02X}"


def code_name(code: int) -> str:
    """Return the name of a negative response code, or its number."""
    known = str(ResponseCode.get_name(code))
    return f"0x{code:02X}" if known.isdecimal() else known


def decode_reply(request: bytes, reply: bytes) -> UdsReply | None:
    """Return what `reply` says to `request`; None if it is no answer to it.

    A positive response must repeat what the standard says it repeats (sub-function, identifier).
    """
    if not request or not reply:
        return None
    service = request[0]
    if reply[0] == NEGATIVE:
        if len(reply) != 3 or reply[1] != service:
            return None
        return NegativeReply(service, reply[2], code_name(reply[2]))
    if reply[0] != (service + _POSITIVE_OFFSET) & 0xFF:
        return None
    expected = bytearray(request[1 : 1 + _REPEATED.get(service, 0)])
    if expected and service in _WITH_SUB_FUNCTION:
        expected[0] &= ~_SUPPRESS & 0xFF
    if reply[1 : 1 + len(expected)] != expected:
        return None
    return PositiveReply(service, reply[1:])


class UdsClient:
    """A tester on one ISO-TP link. Sessions, keep-alive and keys are the caller's."""

    def __init__(self, isotp: IsoTpLink) -> None:
        self._isotp = isotp
        self._unanswered: Counter[int] = Counter()

    def request(self, request: bytes, *, timeout: float) -> UdsReply | UnintelligibleReply | None:
        """Send `request` and return the final reply; None is silence for `timeout` seconds in all.

        "Response pending" is waited through within `timeout`. A late reply to an earlier request that
        was given up is passed over; a late reply to the very same request cannot be told from a fresh one.

        Raises:
            LinkLost: the bus is gone.
        """
        deadline = Deadline(timeout)
        message = self._isotp.request(request, timeout=timeout)
        while message is not None:
            reply = decode_reply(request, message)
            pending = isinstance(reply, NegativeReply) and reply.code == RESPONSE_PENDING
            if reply is not None and not pending:
                return reply
            if reply is None and not self._is_late(message):
                return UnintelligibleReply(message)
            message = self._isotp.receive(timeout=deadline.remaining)
        if request:
            self._unanswered[request[0]] += 1
        return None

    def _is_late(self, message: bytes) -> bool:
        negative = len(message) == 3 and message[0] == NEGATIVE
        service = message[1] if negative else (message[0] - _POSITIVE_OFFSET) & 0xFF
        if self._unanswered[service] <= 0:
            return False
        if not (negative and message[2] == RESPONSE_PENDING):
            self._unanswered[service] -= 1
        return True
