"""Which ports of a host are open: TCP by connecting to them all, UDP by asking the usual ones.

A connecting scan needs no privilege and no raw socket, and leaves nothing half-open on the device.
"""

from __future__ import annotations

import errno
import select
import selectors
import socket
from collections import deque
from collections.abc import Iterable
from enum import StrEnum

from harness.capture import Direction, NullTap, Tap
from harness.links.base import Deadline
from harness.links.dialer import Dialer, resolve

__all__ = ["PortState", "UdpState", "probe_udp", "scan_tcp", "usual_udp_ports"]

SOCKETS_PER_CALL = 200
"""Most sockets asked of a dialer at once: a message on a unix socket carries at most 253 descriptors."""

ICMP_PACE = 1.05
"""Seconds between probes of a host that limits "port unreachable" (Linux: one a second after six)."""

_REFUSED = {errno.ECONNREFUSED, errno.ECONNRESET}


class PortState(StrEnum):
    """What became of connecting to a TCP port."""

    OPEN = "open"
    CLOSED = "closed"
    FILTERED = "filtered"
    """No answer, or one that says unreachable or prohibited."""


class UdpState(StrEnum):
    """What became of asking a UDP port."""

    OPEN = "open"
    CLOSED = "closed"
    OPEN_OR_FILTERED = "open_or_filtered"
    """No answer of any kind: a UDP service need not answer what it does not understand."""


# TCP


def scan_tcp(
    dialer: Dialer, host: str, ports: Iterable[int], *, timeout: float, parallel: int = 500
) -> dict[int, PortState]:
    """Connect to every one of `ports`, `parallel` at a time, each for at most `timeout` seconds.

    Ports that did not answer are tried a second time, since a busy device drops connections.

    Raises:
        OSError: the host name is unknown.
        BenchFault: the dialer gives no sockets.
    """
    wanted = sorted(set(ports))
    states = _Scan(dialer, host, timeout=timeout, parallel=parallel).run(wanted)
    silent = [port for port, state in states.items() if state is PortState.FILTERED]
    states |= _Scan(dialer, host, timeout=timeout, parallel=parallel).run(silent)
    return {port: states[port] for port in wanted}


class _Scan:
    """One pass over a list of ports."""

    def __init__(self, dialer: Dialer, host: str, *, timeout: float, parallel: int) -> None:
        self._dialer = dialer
        self._family, address = resolve(host, 1)
        self._host, self._scope = address[0], address[2:]
        self._timeout = timeout
        self._parallel = parallel
        self._states: dict[int, PortState] = {}
        self._waiting: deque[int] = deque()
        self._spare: list[socket.socket] = []
        self._under_way: dict[socket.socket, tuple[int, Deadline]] = {}  # in order of their deadlines

    def run(self, ports: list[int]) -> dict[int, PortState]:
        self._waiting.extend(ports)
        with selectors.DefaultSelector() as selector:
            try:
                while self._waiting or self._under_way:
                    self._fill(selector)
                    self._collect(selector)
            finally:
                for sock in [*self._under_way, *self._spare]:
                    sock.close()
        return self._states

    def _fill(self, selector: selectors.BaseSelector) -> None:
        while self._waiting and len(self._under_way) < self._parallel:
            if not self._spare:
                wanted = min(SOCKETS_PER_CALL, self._parallel - len(self._under_way), len(self._waiting))
                self._spare = self._dialer.sockets(wanted, self._family, socket.SOCK_STREAM)
            sock, port = self._spare.pop(), self._waiting.popleft()
            sock.setblocking(False)
            code = self._connect(sock, port)
            if code == errno.EINPROGRESS:
                self._under_way[sock] = (port, Deadline(self._timeout))
                selector.register(sock, selectors.EVENT_WRITE)
            else:
                self._decide(sock, port, code)

    def _collect(self, selector: selectors.BaseSelector) -> None:
        if not self._under_way:
            return
        _, oldest = next(iter(self._under_way.values()))
        for key, _ in selector.select(oldest.remaining):
            sock = key.fileobj
            assert isinstance(sock, socket.socket)
            selector.unregister(sock)
            port, _ = self._under_way.pop(sock)
            # Asking again instead of reading SO_ERROR gives the same code and makes a refused socket fit for reuse.
            self._decide(sock, port, self._connect(sock, port))
        while self._under_way:
            sock, (port, deadline) = next(iter(self._under_way.items()))
            if not deadline.passed:
                break
            selector.unregister(sock)
            del self._under_way[sock]
            self._decide(sock, port, errno.ETIMEDOUT)

    def _connect(self, sock: socket.socket, port: int) -> int:
        return sock.connect_ex((self._host, port, *self._scope))

    def _decide(self, sock: socket.socket, port: int, code: int) -> None:
        if code in _REFUSED:
            self._states[port] = PortState.CLOSED
            self._spare.append(sock)
            return
        if code == 0:
            # On the same host a connect can meet itself, its own port being the one it tries.
            met_itself = sock.getsockname() == sock.getpeername()
            self._states[port] = PortState.CLOSED if met_itself else PortState.OPEN
        else:
            self._states[port] = PortState.FILTERED
        sock.close()


# UDP

_SNMP = bytes.fromhex("302602010004067075626c6963a019020101020100020100300e300c06082b060102010101000500")
_DNS = bytes.fromhex("1b2f01000001000000000000 0776657273696f6e 0462696e64 00 0010 0003")
_NETBIOS = bytes.fromhex("80f00010000100000000000020434b") + b"A" * 30 + bytes.fromhex("0000210001")
_RPC = bytes.fromhex("72fe1d130000000000000002000186a00001977c0000000000000000000000000000000000000000")
_SSDP = b'M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: "ssdp:discover"\r\nMX: 1\r\nST: ssdp:all\r\n\r\n'
_MDNS = bytes.fromhex(
    "000000000001000000000000 095f7365727669636573 075f646e732d7364 045f756470 056c6f63616c 00 000c8001"
)
_SIP = (
    b"OPTIONS sip:nobody@localhost SIP/2.0\r\nVia: SIP/2.0/UDP localhost;branch=z9hG4bK1\r\n"
    b"From: <sip:a@localhost>;tag=1\r\nTo: <sip:b@localhost>\r\nCall-ID: 1@localhost\r\nCSeq: 1 OPTIONS\r\n"
    b"Max-Forwards: 1\r\nContent-Length: 0\r\n\r\n"
)

_PROBES: dict[int, bytes] = {
    53: _DNS,  # DNS: version.bind, class CHAOS
    67: bytes.fromhex("01010600") + bytes(232) + bytes.fromhex("63825363350108ff"),  # DHCP inform
    69: b"\x00\x01proofrig\x00octet\x00",  # TFTP: read a file that is not there
    111: _RPC,  # portmapper: NULL call, wrong version: answered either way
    123: b"\xe3" + bytes(47),  # NTP: client, version 4
    137: _NETBIOS,  # NetBIOS name service: node status
    161: _SNMP,  # SNMP version 1, community "public": sysDescr.0
    500: bytes.fromhex("5b5e64c03e99b511" + "00" * 8 + "0110020000000000" + "0000001c"),  # IKE: empty main mode
    514: b"",  # syslog never answers
    623: bytes.fromhex("0600ff07000000000000000000092018c88100388e04b5"),  # IPMI: channel authentication
    1194: bytes.fromhex("38" + "01" * 8 + "0000000000"),  # OpenVPN: hard reset
    1434: b"\x02",  # SQL Server browser
    1900: _SSDP,
    3478: bytes.fromhex("000100002112a442") + b"proofrig0000",  # STUN: binding request
    5060: _SIP,
    5353: _MDNS,
    5683: bytes.fromhex("40017d70bb2e77656c6c2d6b6e6f776e04636f7265"),  # CoAP: GET /.well-known/core
    10161: _SNMP,
    20000: bytes.fromhex("056405c900000000364c"),  # DNP3: request link status
    44818: bytes.fromhex("6300" + "00" * 22),  # EtherNet/IP: list identity
    47808: bytes.fromhex("810b000c0120ffff00ff1008"),  # BACnet: who-is
}

usual_udp_ports: tuple[int, ...] = tuple(_PROBES)
"""UDP ports worth asking on a device: network infrastructure, management, industrial and building protocols."""


def probe_udp(
    dialer: Dialer,
    host: str,
    ports: Iterable[int] = usual_udp_ports,
    *,
    timeout: float,
    attempts: int = 2,
    tap: Tap | None = None,
) -> dict[int, UdpState]:
    """Ask each of `ports` in its own protocol and wait `timeout` seconds for an answer, at most `attempts` times.

    All are asked at once first. A host that then reports some ports as unreachable may limit such
    reports, so what is left is asked again at `ICMP_PACE`. Payloads are recorded on `tap`, with the port
    as channel.

    Raises:
        OSError: the host name is unknown.
        BenchFault: the dialer gives no sockets.
    """
    wanted = sorted(set(ports))
    family, _ = resolve(host, 1, kind=socket.SOCK_DGRAM)
    states = dict.fromkeys(wanted, UdpState.OPEN_OR_FILTERED)
    open_sockets: dict[int, tuple[int, socket.socket]] = {}
    try:
        for start in range(0, len(wanted), SOCKETS_PER_CALL):
            some = wanted[start : start + SOCKETS_PER_CALL]
            for port, sock in zip(some, dialer.sockets(len(some), family, socket.SOCK_DGRAM), strict=True):
                open_sockets[sock.fileno()] = (port, sock)
        probe = _UdpProbe(host, open_sockets, states, tap or NullTap())
        for attempt in range(attempts):
            limited = attempt > 0 and UdpState.CLOSED in states.values()
            probe.ask(pace=ICMP_PACE if limited else 0.0, timeout=timeout)
    finally:
        for _, sock in open_sockets.values():
            sock.close()
    return states


class _UdpProbe:
    def __init__(
        self, host: str, sockets: dict[int, tuple[int, socket.socket]], states: dict[int, UdpState], tap: Tap
    ) -> None:
        self._sockets = sockets
        self._states = states
        self._tap = tap
        self._poll = select.poll()
        for descriptor, (port, sock) in sockets.items():
            sock.setblocking(False)
            code = sock.connect_ex(resolve(host, port, kind=socket.SOCK_DGRAM)[1])
            if code == 0:
                self._poll.register(descriptor, select.POLLIN)

    def ask(self, *, pace: float, timeout: float) -> None:
        """Ask all undecided ports, `pace` seconds apart, then wait `timeout` seconds for the last."""
        asked = 0
        for port, sock in list(self._sockets.values()):
            if self._states[port] is not UdpState.OPEN_OR_FILTERED:
                continue
            if asked:
                self._listen(pace)
            asked += 1
            payload = _PROBES.get(port, b"\r\n\r\n")
            self._tap.record(Direction.TO_DEVICE, payload, channel=port)
            try:
                sock.send(payload)
            except ConnectionRefusedError:
                self._states[port] = UdpState.CLOSED  # the answer to the attempt before
            except OSError:
                continue  # unreachable: stays undecided
        self._listen(timeout)

    def _listen(self, seconds: float) -> None:
        deadline = Deadline(seconds)
        while UdpState.OPEN_OR_FILTERED in self._states.values():
            ready = self._poll.poll(deadline.remaining * 1000)
            for descriptor, _ in ready:
                port, sock = self._sockets[descriptor]
                self._states[port] = self._answer(port, sock)
            if not ready:
                return

    def _answer(self, port: int, sock: socket.socket) -> UdpState:
        try:
            data = sock.recv(65535)
        except ConnectionRefusedError:
            return self._states[port] if self._states[port] is UdpState.OPEN else UdpState.CLOSED
        except OSError:
            return self._states[port]
        self._tap.record(Direction.FROM_DEVICE, data, channel=port)
        return UdpState.OPEN
