"""Scans of an address: ports, banners, TLS and SSH. Nobody logs in."""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Sequence

from harness.capture import Tap
from harness.device_init.seen import HostSeen, SshSeen, TlsSeen, said
from harness.links.dialer import Dialer
from harness.links.network import PortState, UdpState, open_tls, probe_udp, scan_tcp, tcp_banner, usual_udp_ports
from harness.links.ssh import SshHostKeyMismatch, SshLink, SshRefused, connect_ssh, offered_algorithms
from harness.links.ssh_algorithms import is_marker
from harness.links.ssh_values import SshNoConnection
from harness.links.tls import TlsFailed, TlsLink, fingerprint

__all__ = ["scan_ports", "scan_ssh", "scan_tls"]

MOST_NAMES = 64
"""Most algorithms of one kind that are taken for a list of algorithms."""
SPEAKS_FIRST = 1.0
"""Seconds a service has to greet."""


def scan_ports(
    dialer: Dialer, host: str, *, tcp: Sequence[int], udp: bool, banners: bool, timeout: float, tap: Tap
) -> HostSeen:
    """Connect to TCP ports, ask the usual UDP ports, and listen to what open TCP ports say unasked.

    Raises:
        OSError: the name is unknown.
        BenchFault: no socket to be had.
    """
    states = scan_tcp(dialer, host, tcp, timeout=timeout) if tcp else {}
    opened = tuple(port for port, state in states.items() if state is PortState.OPEN)
    answers = probe_udp(dialer, host, timeout=timeout, tap=tap) if udp else {}
    asked = [f"TCP ports {spelled(tcp)} by connecting"] if tcp else []
    asked += [f"UDP ports {spelled(usual_udp_ports)} by asking"] if udp else []
    return HostSeen(
        host,
        how=f"{host}: {'; '.join(asked)}",
        tcp=opened if tcp else None,
        udp=tuple(port for port, state in answers.items() if state is UdpState.OPEN) if udp else None,
        silent=sum(state is PortState.FILTERED for state in states.values()),
        banners={port: _banner(dialer, host, port, tap) for port in opened} if banners else {},
    )


def _banner(dialer: Dialer, host: str, port: int, tap: Tap) -> str:
    try:
        return said(tcp_banner(dialer, host, port, timeout=SPEAKS_FIRST, tap=tap))
    except OSError as error:
        return f"(no second connection: {error.strerror or error})"


def scan_tls(dialer: Dialer, host: str, port: int, *, timeout: float, tap: Tap) -> TlsSeen:
    """Shake hands once, whatever the certificate, and say what was agreed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # it is looked at, not believed
    try:
        link = open_tls(dialer, host, port, name=f"TLS {host}", tap=tap, timeout=timeout, context=context, channel=port)
    except OSError as error:
        return TlsSeen(port, problem=error.strerror or str(error))
    if not isinstance(link, TlsLink):
        return TlsSeen(port, problem=said(link.reason) if isinstance(link, TlsFailed) else "another certificate")
    try:
        return TlsSeen(port, fingerprint(link.certificate), link.version, link.cipher)
    finally:
        link.close()


def scan_ssh(dialer: Dialer, host: str, port: int, *, user: str, timeout: float, tap: Tap) -> SshSeen:
    """Read what the server offers, its host key, and the methods it names when somebody logs in by `none`."""
    offered = offered_algorithms(dialer, host, port, timeout=timeout, tap=tap)
    if isinstance(offered, SshNoConnection):
        return SshSeen(port, problem=said(offered.reason))
    identification = said(offered["identification"][0])
    algorithms = {
        kind: tuple(said(name) for name in offered[listed] if name and not is_marker(name))
        for kind, listed in (
            ("kex", "kex"), ("host_key", "host_key"), ("cipher", "cipher_to_device"), ("mac", "mac_to_device"),
        )
    }  # fmt: skip
    seen = SshSeen(port, identification, algorithms=algorithms)
    if any(len(names) > MOST_NAMES for names in algorithms.values()):
        return SshSeen(port, identification, problem=f"it names over {MOST_NAMES} algorithms of one kind")
    host_key = _host_key(dialer, host, port, kinds=algorithms["host_key"], timeout=timeout, tap=tap)
    if isinstance(host_key, SshNoConnection):
        return SshSeen(port, identification, algorithms=algorithms, problem=f"host key: {said(host_key.reason)}")
    link = connect_ssh(dialer, host, port, host_key=host_key, timeout=timeout, name=f"SSH {host}", tap=tap)
    if not isinstance(link, SshLink):
        return SshSeen(port, identification, host_key, seen.algorithms, problem="the methods of log-in are not known")
    try:
        answer = link.auth_attempt(user, "none", timeout=timeout)
    finally:
        link.close()
    if not isinstance(answer, SshRefused):
        return SshSeen(port, identification, host_key, algorithms, problem=f"`none` was not refused to {user}")
    methods = tuple(said(method) for method in answer.allowed[:MOST_NAMES])
    return SshSeen(port, identification, host_key, algorithms, methods)


def _host_key(
    dialer: Dialer, host: str, port: int, *, kinds: Iterable[str], timeout: float, tap: Tap
) -> str | SshNoConnection:
    """Return the host key, of the first kind the server offers: no key is the pinned one, so it is shown."""
    kind = next(iter(kinds), "ssh-ed25519")
    pin = "ssh-rsa" if kind.startswith("rsa-sha2") else kind
    link = connect_ssh(dialer, host, port, host_key=f"{pin} -", timeout=timeout, name=f"SSH {host}", tap=tap)
    match link:
        case SshHostKeyMismatch(seen=seen):
            return seen
        case SshNoConnection():
            return link
        case SshLink():
            link.close()
    return SshNoConnection("the server shows no host key")


def spelled(ports: Iterable[int]) -> str:
    """Return port numbers in short: `1-1024, 8443`."""
    parts: list[list[int]] = []
    for port in sorted(set(ports)):
        if parts and parts[-1][1] == port - 1:
            parts[-1][1] = port
        else:
            parts.append([port, port])
    return ", ".join(f"{first}" if first == last else f"{first}-{last}" for first, last in parts)
