"""Links: bytes in and out, always recorded.

Nothing here knows a device, and nothing above `harness.errors` and `harness.capture` is imported. A link tells
*silence* (the deadline passed: None or empty) from *loss* (`LinkLost`, raised to every waiter now and later).
Each module opens one kind of link: `serial`, `can` (with `socketcand`), `isotp`, `uds`, `modbus`, `network`, `ssh`.
"""

from harness.links.base import Deadline, LinkStalled, PeerClosed
from harness.links.can import CanFrame, CanLink, open_can, open_socketcand
from harness.links.dialer import Dialer, HostDialer, connect
from harness.links.modbus import ModbusLink, ModbusReply, open_modbus_rtu, open_modbus_tcp
from harness.links.stream import Match, StreamLink, Transport

__all__ = [
    "CanFrame",
    "CanLink",
    "Deadline",
    "Dialer",
    "HostDialer",
    "LinkStalled",
    "Match",
    "ModbusLink",
    "ModbusReply",
    "PeerClosed",
    "StreamLink",
    "Transport",
    "connect",
    "open_can",
    "open_modbus_rtu",
    "open_modbus_tcp",
    "open_socketcand",
]
