"""Scans of field buses: Modbus units, CAN identifiers by listening, UDS servers. Nothing is written to the device."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence

from harness.capture import Tap
from harness.device_init.scan_network import spelled
from harness.device_init.seen import BusSeen, CanSeen, ModbusSeen, UdsIdentifier, UdsSeen, UnitSeen, said
from harness.links.can import CanFrame, CanLink
from harness.links.isotp import IsoTpLink
from harness.links.modbus import ModbusLink, ModbusReply, NoConnection, read_registers
from harness.links.uds import NegativeReply, PositiveReply, UdsClient, UdsReply
from harness.rig.bus_surfaces import ValueType

__all__ = ["listen", "scan_modbus", "scan_uds"]

ILLEGAL_FUNCTION = 1
GATEWAY_CODES = {0x0A, 0x0B}
"""Codes by which a gateway says that no such unit is behind it (Modbus application protocol 1.1b3, section 7)."""
IDENTIFICATION = {0: "manufacturer", 1: "product code", 2: "version", 4: "product", 5: "model"}
"""Objects of the device identification (Modbus application protocol 1.1b3, section 6.21)."""
MOST_OBJECTS = 16

SERVICE_NOT_SUPPORTED = 0x11
ABSENT = {0x31, 0x7F}
"""Codes that say that an identifier cannot be read (ISO 14229-1): out of range, not in this session."""
IDENTIFIERS = (range(0x0000, 0x0300), range(0xF100, 0xF200))
"""Where makers put identifiers, and where ISO 14229-1 annex C puts those of identification."""
KNOWN = {"serial": (0xF18C,), "version": (0xF195, 0xF189), "model": (0xF197,), "manufacturer": (0xF18A,)}
"""Fields of a device and the identifiers that ISO 14229-1 annex C has for them."""
TIME_SCALES = (1.0, 0.001, 0.1, 0.01)
WATCHED = 2.0
"""Seconds between two readings from which a count of the time is known."""
SILENT_IN_A_ROW = 3
"""Requests without an answer after which a scan gives up: nobody is there, or nobody any more."""


def scan_modbus(link: ModbusLink, name: str, *, units: Sequence[int], timeout: float) -> ModbusSeen:
    """Ask each of `units` for a register, and those that answer who they are and for every function code.

    A function code goes out without its parameters: nothing can be carried out, what is there complains.

    Raises:
        LinkLost: the link (not the device) is gone.
    """
    found = []
    for unit in units:
        answer = link.request(read_registers(3, 0, 1), timeout=timeout, unit=unit)
        if isinstance(answer, NoConnection):
            return ModbusSeen(name, f"units {spelled(units)}", problem=said(answer.reason))
        if isinstance(answer, ModbusReply) and answer.exception not in GATEWAY_CODES:
            found.append(unit)
    seen = tuple(UnitSeen(unit, _functions(link, unit, timeout), _names(link, unit, timeout)) for unit in found)
    return ModbusSeen(name, f"units {spelled(units)}", seen, problem="" if seen else "no unit answered")


def _functions(link: ModbusLink, unit: int, timeout: float) -> tuple[int, ...] | None:
    present = []
    for function in range(1, 0x80):
        answer = link.request(bytes([function]), timeout=timeout, unit=unit)
        if not isinstance(answer, ModbusReply):
            return None
        if answer.exception != ILLEGAL_FUNCTION:
            present.append(function)
    return tuple(present)


def _names(link: ModbusLink, unit: int, timeout: float) -> dict[str, str]:
    """Read the device identification, regular where it is there, else basic; empty where it is not."""
    names: dict[str, str] = {}
    for kind in (2, 1):
        following = 0
        for _ in range(MOST_OBJECTS):
            answer = link.request(bytes([0x2B, 0x0E, kind, following]), timeout=timeout, unit=unit)
            if not isinstance(answer, ModbusReply) or answer.exception is not None or len(answer.pdu) < 7:
                break
            names |= _objects(answer.pdu)
            more, following = answer.pdu[4], answer.pdu[5]
            if more != 0xFF:
                break
        if names:
            break
    return names


def _objects(pdu: bytes) -> dict[str, str]:
    """Return the objects in one answer, as far as they are whole."""
    names: dict[str, str] = {}
    rest = pdu[7:]
    for _ in range(min(pdu[6], MOST_OBJECTS)):
        if len(rest) < 2 or len(rest) < 2 + rest[1]:
            break
        if rest[0] in IDENTIFICATION and rest[1]:
            names[IDENTIFICATION[rest[0]]] = said(rest[2 : 2 + rest[1]])
        rest = rest[2 + rest[1] :]
    return names


def listen(link: CanLink, seconds: float) -> CanSeen:
    """Listen to a bus, and say which identifiers were on it.

    Raises:
        LinkLost: the link is gone.
    """
    frames: dict[tuple[int, bool], list[CanFrame]] = defaultdict(list)
    for frame in link.collect(seconds):
        if not frame.error:
            frames[frame.can_id, frame.extended].append(frame)
    seen = []
    for (can_id, extended), some in sorted(frames.items()):
        span = (some[-1].at_ns - some[0].at_ns) / 1e9
        lengths = tuple(sorted({len(frame.data) for frame in some}))
        seen.append(BusSeen(can_id, extended, len(some), span / (len(some) - 1) if len(some) > 1 else None, lengths))
    return CanSeen(seconds, tuple(seen))


def scan_uds(can: CanLink, *, request_id: int, response_id: int, timeout: float, tap: Tap) -> UdsSeen:
    """Ask a server in its default session for every service, and read the identifiers in the usual ranges.

    A service goes out by its identifier alone: nothing can be carried out, what is there complains.

    Raises:
        LinkLost: the bus is gone.
    """
    how = f"request 0x{request_id:X}, response 0x{response_id:X}, default session"
    extended = max(request_id, response_id) > 0x7FF
    transport = IsoTpLink(can, tx_id=request_id, rx_id=response_id, name="UDS", tap=tap, extended=extended)
    try:
        client = _Asking(UdsClient(transport), timeout)
        services = tuple(number for number in range(0x100) if _is_there(client.ask(bytes([number]))))
        readable, absent = [], None
        values: dict[int, bytes] = {}
        for number in (each for part in IDENTIFIERS for each in part):
            reply = client.read(number)
            if isinstance(reply, NegativeReply) and reply.code in ABSENT:
                absent = number if absent is None and reply.code == 0x31 else absent
                continue
            readable.append(number)
            if isinstance(reply, PositiveReply) and len(reply.data) > 2:
                values[number] = reply.data[2:]
        fields = _fields(values) | _uptime(client, can, values)
        named = tuple(UdsIdentifier(number, data, _type(data)) for number, data in values.items())
        return UdsSeen(request_id, response_id, how, services, tuple(readable), absent, named, fields)
    except _Silent:
        return UdsSeen(request_id, response_id, how, problem="it does not answer, or not all the time")
    finally:
        transport.close()


class _Silent(Exception):
    """The server does not answer."""


class _Asking:
    """Requests to a UDS server, until it has been silent too often."""

    def __init__(self, client: UdsClient, timeout: float) -> None:
        self._client = client
        self._timeout = timeout

    def ask(self, request: bytes) -> UdsReply:
        """Return the answer.

        Raises:
            _Silent: there is none, or none that can be understood.
        """
        for _ in range(SILENT_IN_A_ROW):
            reply = self._client.request(request, timeout=self._timeout)
            if isinstance(reply, PositiveReply | NegativeReply):
                return reply
        raise _Silent

    def read(self, identifier: int) -> UdsReply:
        """Read a data identifier; raises as `ask`."""
        return self.ask(b"\x22" + identifier.to_bytes(2))


def _is_there(reply: UdsReply) -> bool:
    return not (isinstance(reply, NegativeReply) and reply.code == SERVICE_NOT_SUPPORTED)


def _type(data: bytes) -> ValueType:
    text = data.rstrip(b"\0")
    if len(text) > 1 and all(0x20 <= byte < 0x7F for byte in text):
        return "ascii"
    sizes: dict[int, ValueType] = {1: "u8", 2: "u16", 4: "u32"}
    return sizes.get(len(data), "hex")


def _fields(values: dict[int, bytes]) -> dict[str, UdsIdentifier]:
    found = {}
    for field, numbers in KNOWN.items():
        number = next((each for each in numbers if each in values), None)
        if number is not None:
            found[field] = UdsIdentifier(number, values[number], _type(values[number]))
    return found


def _uptime(client: _Asking, can: CanLink, values: dict[int, bytes]) -> dict[str, UdsIdentifier]:
    """Find the identifier that counts the time: it moves on as the bench's clock does."""
    sized = {number for number, data in values.items() if len(data) in (2, 4)}
    first = {number: (client.read(number), time.monotonic()) for number in sorted(sized)}
    if first:
        can.collect(WATCHED)
    for number, (before, began) in first.items():
        after, passed = client.read(number), time.monotonic() - began
        if not (isinstance(before, PositiveReply) and isinstance(after, PositiveReply)):
            continue
        old, new = before.data[2:], after.data[2:]
        if len(old) != len(new) or len(new) not in (2, 4):
            continue
        counted = int.from_bytes(new) - int.from_bytes(old)
        for scale in TIME_SCALES:
            if abs(counted * scale - passed) <= max(0.25, scale / 2):
                kind: ValueType = "u16" if len(new) == 2 else "u32"
                return {"uptime": UdsIdentifier(number, new, kind, scale)}
    return {}
