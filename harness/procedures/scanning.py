"""What a device answers to whoever asks: open ports, diagnostic services and identifiers, functions and registers."""

from __future__ import annotations

from collections.abc import Iterable

from harness.case import Case
from harness.device.modbus_map import ILLEGAL_ADDRESS, ILLEGAL_FUNCTION, ModbusSurface
from harness.device.outcomes import Outcome, Refused
from harness.device.uds import UdsSurface
from harness.links.modbus import read_registers
from harness.links.network import PortState, scan_tcp

__all__ = [
    "READ_FUNCTIONS",
    "exception_code",
    "modbus_functions",
    "open_ports",
    "readable_identifiers",
    "readable_registers",
    "uds_services",
]

READ_FUNCTIONS = {"holding": 3, "input": 4}
_ALL_PORTS = range(1, 65536)
_SERVICE_NOT_SUPPORTED = 0x11
"""ISO 14229-1, negative response codes; any other answer says that the service is there."""
_NOT_READABLE = {0x31, 0x7F}
"""Codes that say that an identifier cannot be read: request out of range, service not in this session."""
_TYPED = {43: (13, 14)}
"""Functions known by their type alone, with the types there are (V1.1b3, 6.19): any other is an unknown function."""


def open_ports(case: Case, link: str) -> set[int]:
    """Return the open TCP ports of the address of a network link; none where it has no IPv4 address."""
    wiring = case.bench.wiring
    host = wiring.network(link).ipv4
    if host is None:
        return set()
    states = scan_tcp(wiring.dialer, host, _ALL_PORTS, timeout=wiring.answer_within)
    return {port for port, state in states.items() if state is PortState.OPEN}


def uds_services(case: Case, door: UdsSurface) -> set[int]:
    """Ask for every service by its identifier alone; return those that are there.

    Without sub-function and parameters nothing can be carried out; a service that is there complains of it.

    Raises:
        Undecided: one is neither accepted nor refused.
    """
    present: set[int] = set()
    for service in range(0x100):
        match door.request(bytes([service]), recorded=False):
            case Refused(code=code):
                if code != _SERVICE_NOT_SUPPORTED:
                    present.add(service)
            case other:
                case.value(other, f"service 0x{service:02X}")
                present.add(service)
    return present


def readable_identifiers(case: Case, door: UdsSurface, swept: Iterable[int]) -> set[int]:
    """Return the data identifiers of `swept` that can be read in the present session.

    Raises:
        Undecided: one is neither accepted nor refused.
    """
    readable: set[int] = set()
    for identifier in sorted(swept):
        outcome = door.read_identifier(identifier, recorded=False)
        if isinstance(outcome, Refused) and outcome.code in _NOT_READABLE:
            continue
        if not isinstance(outcome, Refused):
            case.value(outcome, f"identifier 0x{identifier:04X}")
        readable.add(identifier)
    return readable


def exception_code(case: Case, outcome: Outcome[bytes], what: str) -> int:
    """Return the exception code of a Modbus outcome, 0 when it was accepted.

    Raises:
        Undecided: it was neither accepted nor refused.
    """
    if isinstance(outcome, Refused):
        return outcome.code or 0
    case.value(outcome, what)
    return 0


def modbus_functions(case: Case, door: ModbusSurface) -> set[int]:
    """Return the function codes that are there.

    Without parameters nothing can be carried out; a function that is there complains of their absence.

    Raises:
        Undecided: one is neither accepted nor refused.
    """
    present: set[int] = set()
    for function in range(1, 0x80):
        for pdu in [bytes([function, kind]) for kind in _TYPED.get(function, ())] or [bytes([function])]:
            outcome = door.request(pdu, operation=f"function {function}", recorded=False)
            if exception_code(case, outcome, f"function {function}") != ILLEGAL_FUNCTION:
                present.add(function)
                break
    return present


def readable_registers(case: Case, door: ModbusSurface, table: str, tried: Iterable[int]) -> set[int]:
    """Return the addresses of `tried` that can be read, each asked for alone.

    Raises:
        Undecided: one is neither accepted nor refused.
    """
    readable: set[int] = set()
    for address in sorted(tried):
        outcome = door.request(read_registers(READ_FUNCTIONS[table], address, 1), recorded=False)
        if exception_code(case, outcome, f"{table} register {address}") != ILLEGAL_ADDRESS:
            readable.add(address)
    return readable
