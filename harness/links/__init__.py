"""Links: bytes in and out, always recorded.

Nothing here knows a device, and nothing of the project but `harness.errors` and `harness.capture` is imported. A
link tells *silence* (the deadline passed: None or empty) from *loss* (`LinkLost`, raised to every waiter, now and
later). What the device does (refuse, hang up, answer nonsense) is returned as a value.

Each module opens one kind of link: `serial`, `can` (with `socketcan`, `python_can` and `socketcand`), `isotp`, `uds`,
`modbus`, `network` (with `tls` and `scan`), `ssh` (with `ssh_algorithms`). `stream` holds what all streams of bytes
share, `dialer` where sockets come from.
"""

from harness.links.base import Deadline, LinkStalled, PeerClosed
from harness.links.can import CanFrame, CanLink, open_can, open_socketcand
from harness.links.dialer import Dialer, HostDialer, connect
from harness.links.isotp import IsoTpLink
from harness.links.modbus import ModbusLink, ModbusReply, open_modbus_rtu, open_modbus_tcp
from harness.links.network import DatagramLink, PortState, open_tcp, open_tls, open_udp, probe_udp, scan_tcp
from harness.links.serial import open_serial
from harness.links.ssh import SshLink, connect_ssh, open_ssh
from harness.links.stream import Match, StreamLink, Transport
from harness.links.uds import UdsClient

__all__ = [
    "CanFrame",
    "CanLink",
    "DatagramLink",
    "Deadline",
    "Dialer",
    "HostDialer",
    "IsoTpLink",
    "LinkStalled",
    "Match",
    "ModbusLink",
    "ModbusReply",
    "PeerClosed",
    "PortState",
    "SshLink",
    "StreamLink",
    "Transport",
    "UdsClient",
    "connect",
    "connect_ssh",
    "open_can",
    "open_modbus_rtu",
    "open_modbus_tcp",
    "open_serial",
    "open_socketcand",
    "open_ssh",
    "open_tcp",
    "open_tls",
    "open_udp",
    "probe_udp",
    "scan_tcp",
]
