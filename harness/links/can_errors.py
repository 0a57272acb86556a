"""What an error frame of SocketCAN says. Source: linux/can/error.h."""

from __future__ import annotations

from enum import IntFlag

from harness.links.canframe import CanFrame

__all__ = ["BUS_OFF", "BUS_OFF_HINT", "ErrorClass", "error_text", "is_bus_off", "receiver_overflowed"]

BUS_OFF = "the adapter's controller is off the bus (bus-off)"
BUS_OFF_HINT = (
    "look at wiring, termination and bit rate; "
    "on Linux `ip link set INTERFACE type can restart-ms 100` has the controller come back by itself"
)


class ErrorClass(IntFlag):
    """Classes of errors: bits of an error frame's identifier."""

    TX_TIMEOUT = 0x001
    LOST_ARBITRATION = 0x002
    CONTROLLER = 0x004
    PROTOCOL = 0x008
    TRANSCEIVER = 0x010
    NO_ACKNOWLEDGEMENT = 0x020
    BUS_OFF = 0x040
    BUS_ERROR = 0x080
    RESTARTED = 0x100
    COUNTERS = 0x200


_CONTROLLER = {
    0x01: "receive buffer overflow",
    0x02: "transmit buffer overflow",
    0x04: "receive errors: warning",
    0x08: "transmit errors: warning",
    0x10: "receive errors: passive",
    0x20: "transmit errors: passive",
    0x40: "error active again",
}
"""Bits of byte 1, valid with `ErrorClass.CONTROLLER`."""
_RX_OVERFLOW = 0x01


def error_text(frame: CanFrame) -> str:
    """Say what an error frame reports, for example `controller (receive buffer overflow), bus off`."""
    known = [each for each in ErrorClass if frame.can_id & each]
    texts = []
    for each in known:
        text = str(each.name).lower().replace("_", " ")
        details = [word for bit, word in _CONTROLLER.items() if each is ErrorClass.CONTROLLER and _state(frame) & bit]
        texts.append(f"{text} ({', '.join(details)})" if details else text)
    return ", ".join(texts) or f"error {frame.can_id:#x}"


def is_bus_off(frame: CanFrame) -> bool:
    """Whether the adapter says that its controller went off the bus."""
    return frame.error and bool(frame.can_id & ErrorClass.BUS_OFF)


def receiver_overflowed(frame: CanFrame) -> bool:
    """Whether the adapter says that it lost what it received."""
    return bool(frame.can_id & ErrorClass.CONTROLLER and _state(frame) & _RX_OVERFLOW)


def _state(frame: CanFrame) -> int:
    return frame.data[1] if len(frame.data) > 1 else 0
