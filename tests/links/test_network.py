"""Scans in a network namespace of their own, reached by sockets handed over; TLS and UDP on loopback."""

from __future__ import annotations

import array
import contextlib
import datetime
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from harness.errors import LinkLost
from harness.links.dialer import HostDialer, connect
from harness.links.network import (
    PortState,
    TlsFailed,
    TlsIdentityMismatch,
    TlsLink,
    UdpState,
    open_tcp,
    open_tls,
    open_udp,
    probe_udp,
    scan_tcp,
    tcp_banner,
    usual_udp_ports,
)
from harness.links.tls import fingerprint

NAMESPACE = r"""
import array, ctypes, os, selectors, socket, subprocess, sys
if ctypes.CDLL(None, use_errno=True).unshare(0x40000000):  # CLONE_NEWNET
    print("no", flush=True); sys.exit()
def ip(*words): subprocess.run(["ip", *words], check=True)
ip("link", "set", "lo", "up")
ip("addr", "add", "2001:db8::1/128", "dev", "lo")
ip("link", "add", "quiet", "type", "veth", "peer", "name", "far")
ip("addr", "add", "198.51.100.1/24", "dev", "quiet")
ip("link", "set", "quiet", "up")
ip("link", "set", "far", "up")
ip("neigh", "add", "198.51.100.2", "lladdr", "02:00:00:00:00:02", "dev", "quiet")  # swallows everything
tcp = [socket.create_server(("", port), backlog=64) for port in (22, 502, 40000, 65535)]
tcp6 = socket.create_server(("2001:db8::1", 8080), family=socket.AF_INET6)
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); udp.bind(("", 5683))
mute = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); mute.bind(("", 123))
control = socket.socket(fileno=int(sys.argv[1]))
print("ready", flush=True)
poll = selectors.DefaultSelector()
for sock in (*tcp, tcp6, udp, control): poll.register(sock, selectors.EVENT_READ)
while True:
    for key, _ in poll.select():
        if key.fileobj is control:
            request = control.recv(12)
            if not request: sys.exit()
            count, family, kind = array.array("i", request)
            made = [socket.socket(family, kind) for _ in range(count)]
            socket.send_fds(control, [b"x"], [sock.fileno() for sock in made])
            for sock in made: sock.close()
        elif key.fileobj is udp:
            data, peer = udp.recvfrom(2000)
            udp.sendto(b"answer " + data, peer)
        else:
            key.fileobj.accept()[0].close()
"""


class NamespaceDialer:
    def __init__(self, control: socket.socket) -> None:
        self.control = control
        self.largest = 0

    def sockets(self, count: int, family: int, kind: int) -> list[socket.socket]:
        self.largest = max(self.largest, count)
        self.control.send(array.array("i", [count, family, kind]).tobytes())
        _, descriptors, _, _ = socket.recv_fds(self.control, 1, 253)
        return [socket.socket(fileno=descriptor) for descriptor in descriptors]


@pytest.fixture(scope="module")
def namespace(tmp_path_factory) -> Iterator[NamespaceDialer]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    script = tmp_path_factory.mktemp("namespace") / "namespace.py"
    script.write_text(NAMESPACE)
    process = subprocess.Popen(
        [sys.executable, str(script), str(theirs.fileno())],
        pass_fds=[theirs.fileno()],
        stdout=subprocess.PIPE,
        text=True,
    )
    theirs.close()
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    if line == "no":
        pytest.skip("no right to make a network namespace")
    assert line == "ready"
    yield NamespaceDialer(ours)
    ours.close()
    process.wait(5)
    process.stdout.close()


def test_all_ports_of_a_host_in_seconds(namespace):
    started = time.monotonic()
    states = scan_tcp(namespace, "127.0.0.1", range(1, 65536), timeout=1)
    assert time.monotonic() - started < 20
    assert len(states) == 65535
    assert {port for port, state in states.items() if state is PortState.OPEN} == {22, 502, 40000, 65535}
    assert set(states.values()) == {PortState.OPEN, PortState.CLOSED}
    assert namespace.largest <= 200


def test_the_same_over_ipv6(namespace):
    states = scan_tcp(namespace, "2001:db8::1", [22, 8080, 8081], timeout=1)
    assert states == {22: PortState.CLOSED, 8080: PortState.OPEN, 8081: PortState.CLOSED}


def test_a_host_that_swallows_all_is_filtered(namespace):
    started = time.monotonic()
    states = scan_tcp(namespace, "198.51.100.2", range(1, 601), timeout=0.3, parallel=300)
    assert set(states.values()) == {PortState.FILTERED}
    assert 1.1 < time.monotonic() - started < 3, "two waves, each tried twice"


def test_unreachable_is_filtered_and_not_closed(namespace):
    assert scan_tcp(namespace, "203.0.113.1", [22], timeout=0.3) == {22: PortState.FILTERED}


def test_udp_tells_open_closed_and_undecided(namespace, recording):
    states = probe_udp(namespace, "127.0.0.1", [123, 5683, 69], timeout=0.3, tap=recording.tap)
    assert states == {123: UdpState.OPEN_OR_FILTERED, 5683: UdpState.OPEN, 69: UdpState.CLOSED}
    assert {frame.channel for frame in recording.frames()} == {123, 5683, 69}
    assert recording.received().startswith(b"answer \x40\x01")
    assert set(probe_udp(namespace, "198.51.100.2", [53, 161], timeout=0.2).values()) == {UdpState.OPEN_OR_FILTERED}


def test_the_usual_udp_ports_are_many_and_each_has_its_payload(namespace):
    assert len(usual_udp_ports) >= 20
    states = probe_udp(namespace, "127.0.0.1", timeout=0.3, attempts=1)
    assert states[5683] is UdpState.OPEN
    assert states[123] is UdpState.OPEN_OR_FILTERED


def test_refused_and_unanswered_connects_are_told_apart(namespace):
    with pytest.raises(ConnectionRefusedError):
        connect(namespace, "127.0.0.1", 23, timeout=1)
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        connect(namespace, "198.51.100.2", 22, timeout=0.3)
    assert time.monotonic() - started < 1
    connect(namespace, "2001:db8::1", 8080, timeout=1).close()


def test_banners(serve, recording):
    talkative = serve(lambda connection: connection.sendall(b"220 pump " * 1000) or connection.recv(1))
    mute = serve(lambda connection: connection.recv(1))
    rude = serve(lambda connection: connection.sendall(b"go away"))
    dialer = HostDialer()
    assert tcp_banner(dialer, "127.0.0.1", talkative, timeout=1, tap=recording.tap) == (b"220 pump " * 1000)[:1024]
    assert tcp_banner(dialer, "127.0.0.1", mute, timeout=0.2) == b""
    assert tcp_banner(dialer, "127.0.0.1", rude, timeout=1) == b"go away"
    assert {frame.channel for frame in recording.frames()} == {talkative}


def test_a_tcp_stream(serve, recording):
    port = serve(lambda connection: connection.sendall(connection.recv(100)[::-1]))
    link = open_tcp(HostDialer(), "127.0.0.1", port, name="tcp", tap=recording.tap, timeout=2)
    link.send(b"abc")
    assert link.expect(b"cba", since=0, timeout=2) is not None
    with pytest.raises(LinkLost):
        link.expect(b"more", since=3, timeout=2)
    link.close()


# UDP link


def test_datagrams_refusals_and_empty_ones(recording):
    peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    peer.bind(("127.0.0.1", 0))
    link = open_udp(HostDialer(), "127.0.0.1", peer.getsockname()[1], name="udp", tap=recording.tap)
    link.send(b"hello")
    data, address = peer.recvfrom(100)
    peer.sendto(b"", address)
    peer.sendto(data.upper(), address)
    answer = link.receive(timeout=1)
    assert answer is not None
    assert answer.data == b"HELLO"
    assert link.receive(timeout=0.1) is None
    peer.sendto(b"stale", address)
    while link.last_rx_ns == answer.at_ns:
        threading.Event().wait(0.01)
    link.discard()
    assert link.receive(timeout=0.05) is None
    peer.close()
    link.send(b"anybody?")
    assert link.receive(timeout=0.2) is None, "a refusal is no loss"
    assert link.refusals == 1
    link.close()
    with pytest.raises(LinkLost):
        link.receive(timeout=1)


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> tuple[Path, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pump")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("pump")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path, fingerprint(made.public_bytes(serialization.Encoding.DER))


@pytest.fixture
def tls_port(serve, certificate) -> int:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate[0])

    def handle(connection: socket.socket) -> None:
        with contextlib.suppress(ssl.SSLError), context.wrap_socket(connection, server_side=True) as tls:
            while data := tls.recv(65536):
                if data == b"bye":
                    return
                tls.sendall(data[::-1])

    return serve(handle)


def dial_tls(port: int, recording, **options):
    return open_tls(HostDialer(), "127.0.0.1", port, name="tls", tap=recording.tap, **({"timeout": 1} | options))


def test_tls_with_a_pinned_certificate_records_clear_text(tls_port, certificate, recording):
    link = dial_tls(tls_port, recording, pinned=certificate[1].upper())
    assert isinstance(link, TlsLink)
    assert fingerprint(link.certificate) == certificate[1]
    assert link.version == "TLSv1.3"
    link.send(b"secret question")
    assert link.expect(b"noitseuq terces", since=0, timeout=2) is not None
    assert (recording.sent(), recording.received()) == (b"secret question", b"noitseuq terces")
    big = bytes(range(256)) * 2000
    mark = link.mark()
    link.send(big)
    assert len(link.read_at_least(len(big), since=mark, timeout=5)) == len(big)
    assert link.expect(b"never", since=mark, timeout=0.1) is None
    link.send(b"bye")
    with pytest.raises(LinkLost):
        link.expect(b"never", since=mark, timeout=2)
    link.close()


def test_tls_by_an_authority(tls_port, certificate, recording):
    link = dial_tls(tls_port, recording, ca_file=str(certificate[0]), server_name="pump")
    assert isinstance(link, TlsLink)
    link.close()
    refused = dial_tls(tls_port, recording, ca_file=str(certificate[0]), server_name="other")
    assert isinstance(refused, TlsFailed)
    assert "other" in refused.reason
    assert isinstance(dial_tls(tls_port, recording), TlsFailed), "no authority, no pin: not trusted"


def test_tls_that_does_not_come_about(tls_port, certificate, serve, recording):
    seen = dial_tls(tls_port, recording, pinned="00" * 32)
    assert seen == TlsIdentityMismatch(certificate[1])
    mute = serve(lambda connection: connection.recv(70000) and connection.recv(1))
    started = time.monotonic()
    assert isinstance(dial_tls(mute, recording, pinned="00" * 32, timeout=0.3), TlsFailed)
    assert time.monotonic() - started < 1
    plain = serve(lambda connection: connection.sendall(b"220 hello\r\n" * 10) or connection.recv(1))
    assert isinstance(dial_tls(plain, recording, pinned="00" * 32), TlsFailed)
    rude = serve(lambda connection: connection.recv(10) and None)
    assert isinstance(dial_tls(rude, recording, pinned="00" * 32), TlsFailed)
    with pytest.raises(ConnectionRefusedError):
        dial_tls(1, recording, pinned="00" * 32)
