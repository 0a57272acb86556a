"""HTTP against real servers on loopback: what they send is not trusted, what is sent to them is what was asked."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.capture import NullTap
from harness.errors import UsageError
from harness.links.dialer import HostDialer
from harness.links.http import (
    MAX_HEAD,
    RECORDED_BODY,
    HttpConnection,
    HttpGarbage,
    HttpLink,
    HttpRequest,
    HttpResponse,
    HttpSilence,
)
from harness.links.http_trust import Trust
from harness.links.tls import TlsIdentityMismatch

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GET = HttpRequest(b"GET", b"/")


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key and self-signed certificate of 127.0.0.1 in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "unit")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("http") / "server.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.fixture
def fingerprint(pem: Path) -> str:
    return x509.load_pem_x509_certificate(pem.read_bytes()).fingerprint(hashes.SHA256()).hex()


Serve = Callable[[Callable[[socket.socket], None]], int]


def head_of(peer: socket.socket) -> bytes:
    """Read up to the end of a head."""
    data = b""
    while b"\r\n\r\n" not in data and (piece := peer.recv(65536)):
        data += piece
    return data


def answering(answer: bytes) -> Callable[[socket.socket], None]:
    """A handler that reads a head, sends `answer` and hangs up."""

    def handle(peer: socket.socket) -> None:
        head_of(peer)
        peer.sendall(answer)
        with contextlib.suppress(OSError):
            peer.shutdown(socket.SHUT_WR)

    return handle


@contextlib.contextmanager
def plain(port: int, tap=None, timeout: float = 2) -> Iterator[HttpConnection]:
    link = HttpLink(
        HostDialer(), host="127.0.0.1", port=port, name="http", tap=tap or NullTap(), trust=None, timeout=timeout
    )
    connection = link.connect()
    assert isinstance(connection, HttpConnection)
    try:
        yield connection
    finally:
        link.close()


def tls_link(port: int, recording, trust: Trust) -> HttpLink:
    return HttpLink(HostDialer(), host="127.0.0.1", port=port, name="https", tap=recording.tap, trust=trust, timeout=5)


@pytest.fixture
def tls_port(serve: Serve, pem: Path) -> int:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)

    def handle(peer: socket.socket) -> None:
        with contextlib.suppress(ssl.SSLError), context.wrap_socket(peer, server_side=True) as tls:
            while head_of(tls):
                tls.sendall(OK)

    return serve(handle)


# TLS


def test_a_pinned_server_is_asked_and_the_clear_text_recorded(tls_port, fingerprint, recording):
    link = tls_link(tls_port, recording, Trust(fingerprint=fingerprint))
    connection = link.connect()
    assert isinstance(connection, HttpConnection)
    assert connection.fingerprint == fingerprint
    for _ in range(2):
        answer = connection.exchange(HttpRequest(b"GET", b"/secret?x=1", ((b"X-One", b"1"),)), timeout=2)
        assert isinstance(answer, HttpResponse)
        assert (answer.status, answer.body, answer.raw) == (200, b"ok", OK)
        assert connection.reusable
    link.close()
    said = b"GET /secret?x=1 HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nX-One: 1\r\n\r\n" % tls_port
    assert recording.sent().startswith(said)
    assert recording.received() == OK * 2


def test_another_certificate_is_told_and_nothing_is_sent(tls_port, fingerprint, recording):
    link = tls_link(tls_port, recording, Trust(fingerprint="00" * 32))
    assert link.connect() == TlsIdentityMismatch(fingerprint)
    shown = link.connect(any_certificate=True)
    assert isinstance(shown, HttpConnection)
    assert shown.fingerprint == fingerprint
    link.close()
    assert recording.sent() == b""


def test_authorities_vouch_for_a_name(tls_port, pem, recording):
    trusted = tls_link(tls_port, recording, Trust(ca_file=str(pem)))
    assert isinstance(trusted.connect(), HttpConnection)
    trusted.close()
    wrong = tls_link(tls_port, recording, Trust(ca_file=str(pem), server_name="elsewhere.example"))
    assert isinstance(wrong.connect(), HttpSilence)
    unknown = tls_link(tls_port, recording, Trust())
    assert isinstance(unknown.connect(), HttpSilence)


def test_nobody_there_is_silence(recording):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    refused = tls_link(port, recording, Trust(fingerprint="00" * 32)).connect()
    assert isinstance(refused, HttpSilence)
    assert "no connection" in refused.reason


@pytest.mark.parametrize("content", [None, b"no certificate"])
def test_a_file_of_authorities_that_will_not_do_is_named(tmp_path, recording, content):
    path = tmp_path / "ca.pem"
    if content:
        path.write_bytes(content)
    with pytest.raises(UsageError, match="authorities") as caught:
        tls_link(9, recording, Trust(ca_file=str(path))).connect()
    assert caught.value.where == str(path)


def test_host_names_the_port_that_is_not_the_schemes_own(recording):
    assert tls_link(443, recording, Trust()).authority == "127.0.0.1"
    assert tls_link(8443, recording, Trust()).authority == "127.0.0.1:8443"


# Hostile answers


def test_chunks_with_long_extensions_end(serve: Serve):
    chunk = b"1;" + b"x" * 30_000 + b"\r\na\r\n"
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk * 100
    with plain(serve(answering(answer))) as connection:
        got = connection.exchange(GET, timeout=5, max_body=1000)
    assert isinstance(got, HttpGarbage)
    assert got.reason.startswith("more than")
    assert len(got.received) < 2 * 1000 + 11 * MAX_HEAD


def test_an_answer_that_never_pauses_ends(serve: Serve):
    def handle(peer: socket.socket) -> None:
        head_of(peer)
        peer.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        with contextlib.suppress(OSError):
            while True:
                peer.sendall(b"1\r\na\r\n")

    with plain(serve(handle)) as connection:
        start = time.monotonic()
        got = connection.exchange(GET, timeout=0.1)
    assert isinstance(got, HttpGarbage)
    assert "not whole in time" in got.reason
    assert time.monotonic() - start < 3


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"SSH-2.0-dropbear\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nok", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * (MAX_HEAD + 20000), "not HTTP"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 100, "interim answers without end"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + b"x" * 5000, "more than 1000 bytes"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 5000, "more than 1000 bytes"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nanything", "not HTTP"),
    ],
    ids=range(11),
)
def test_what_is_no_whole_answer_is_garbage(serve: Serve, answer, words):
    with plain(serve(answering(answer))) as connection:
        got = connection.exchange(GET, timeout=2, max_body=1000)
        assert isinstance(got, HttpGarbage), got
        assert words in got.reason
        assert got.received
        assert not connection.reusable


def test_an_announced_length_is_not_waited_for_beyond_the_deadline(serve: Serve):
    def handle(peer: socket.socket) -> None:
        head_of(peer)
        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\nx")
        head_of(peer)

    with plain(serve(handle)) as connection:
        before = time.monotonic()
        got = connection.exchange(GET, timeout=0.3)
        assert isinstance(got, HttpGarbage)
        assert 0.25 < time.monotonic() - before < 1.5


def test_a_drip_ends_at_the_deadline(serve: Serve):
    stop = threading.Event()

    def handle(peer: socket.socket) -> None:
        head_of(peer)
        peer.sendall(b"HTTP/1.1 200 OK\r\nX: ")
        while not stop.wait(0.05):
            peer.sendall(b"a")

    with plain(serve(handle)) as connection:
        before = time.monotonic()
        assert isinstance(connection.exchange(GET, timeout=0.2), HttpGarbage)
        stop.set()
        assert time.monotonic() - before < 3


def test_silence_and_a_closed_connection_are_told_apart_from_garbage(serve: Serve):
    hold = threading.Event()
    with plain(serve(lambda peer: hold.wait(5) and None)) as connection:
        assert connection.exchange(GET, timeout=0.2) == HttpSilence("silence")
        hold.set()
    with plain(serve(answering(b""))) as connection:
        assert connection.exchange(GET, timeout=2) == HttpSilence("the device closed the connection")


def test_a_second_answer_is_seen(serve: Serve):
    with plain(serve(answering(OK + b"HTTP/1.1 403 No\r\n\r\n"))) as connection:
        got = connection.exchange(GET, timeout=2)
        assert isinstance(got, HttpResponse)
        assert got.extra.startswith(b"HTTP/1.1 403") or not connection.reusable


def test_a_redirect_is_an_answer(serve: Serve):
    asked: list[bytes] = []

    def handle(peer: socket.socket) -> None:
        asked.append(head_of(peer))
        peer.sendall(b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n")
        asked.append(head_of(peer))

    port = serve(handle)
    with plain(port) as connection:
        got = connection.exchange(GET, timeout=2)
        assert isinstance(got, HttpResponse)
        assert (got.status, got.header("LOCATION")) == (302, "/elsewhere")
    assert [one for one in asked if one] == [b"GET / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % port]


def test_the_answer_to_head_has_no_body(serve: Serve):
    with plain(serve(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n"))) as connection:
        got = connection.exchange(HttpRequest(b"HEAD", b"/"), timeout=2)
        assert isinstance(got, HttpResponse)
        assert got.body == b""


@settings(max_examples=60, deadline=None)
@given(data=st.one_of(st.binary(max_size=400), st.binary(max_size=200).map(lambda tail: b"HTTP/1.1 " + tail)))
def test_no_answer_makes_the_bench_stumble(anything_port, data):
    anything_port.answer = data
    with plain(anything_port.port) as connection:
        got = connection.exchange(GET, timeout=2)
        assert isinstance(got, HttpResponse | HttpSilence | HttpGarbage)
        if isinstance(got, HttpGarbage):
            assert data.startswith(got.received)


class _Anything:
    def __init__(self) -> None:
        self.answer = b""
        self.port = 0


@pytest.fixture(scope="module")
def anything_port() -> Iterator[_Anything]:
    """A server whose answer the test sets; one for all examples."""
    state = _Anything()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        state.port = listener.getsockname()[1]

        def run() -> None:
            with contextlib.suppress(OSError):
                while True:
                    peer, _ = listener.accept()
                    with peer, contextlib.suppress(OSError):
                        peer.settimeout(5)
                        answering(state.answer)(peer)

        threading.Thread(target=run, daemon=True).start()
        yield state
        listener.shutdown(socket.SHUT_RDWR)


# What is sent


def test_a_request_goes_out_as_it_is(serve: Serve):
    seen: list[bytes] = []

    def handle(peer: socket.socket) -> None:
        seen.append(head_of(peer))
        peer.sendall(OK)

    strange = HttpRequest(b"G\tT", b"/\xff\x00..%2f", ((b"Host", b"a b"), (b"X", b"1\r\nY: 2"), (b"X", b"\xfe")))
    with plain(serve(handle)) as connection:
        assert isinstance(connection.exchange(strange, timeout=2), HttpResponse)
    assert seen == [b"G\tT /\xff\x00..%2f HTTP/1.1\r\nHost: a b\r\nX: 1\r\nY: 2\r\nX: \xfe\r\n\r\n"]


@pytest.fixture
def swallowing(serve: Serve) -> tuple[int, list[bytes], threading.Event]:
    """A server that reads until the connection ends, and says what it got."""
    got: list[bytes] = []
    ended = threading.Event()

    def handle(peer: socket.socket) -> None:
        data = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := peer.recv(65536):
                data += piece
        got.append(data)
        ended.set()

    return serve(handle), got, ended


@pytest.mark.parametrize("first", [0, 1, 70_000])
def test_an_upload_is_cut_where_it_was_asked_for(swallowing, first):
    port, got, ended = swallowing
    body = bytes(range(256)) * 400
    with plain(port) as connection:
        assert connection.upload(HttpRequest(b"PUT", b"/up", body=body), timeout=5, first=first) == first
        assert not connection.reusable
    assert ended.wait(5)
    head, _, rest = got[0].partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert rest == body[:first]


def test_a_slow_upload_takes_its_time(swallowing):
    port, got, ended = swallowing
    with plain(port) as connection:
        before = time.monotonic()
        assert connection.upload(HttpRequest(b"PUT", b"/up", body=b"x" * 500), timeout=5, pace=1000) == 500
        assert 0.4 < time.monotonic() - before < 2
    assert ended.wait(5)
    assert got[0].endswith(b"x" * 500)


def test_a_refusal_in_the_middle_of_an_upload_is_read(serve: Serve):
    def handle(peer: socket.socket) -> None:
        head_of(peer)
        peer.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
        peer.shutdown(socket.SHUT_WR)
        with contextlib.suppress(OSError):
            while peer.recv(65536):
                pass

    body = bytes(32 * 1024 * 1024)
    with plain(serve(handle)) as connection:
        request = HttpRequest(b"PUT", b"/up", body=body)
        assert connection.upload(request, timeout=20) < len(body)
        got = connection.receive(timeout=2)
        assert isinstance(got, HttpResponse)
        assert (got.status, got.body, got.closes) == (413, b"no", True)


def test_a_long_body_is_recorded_by_length_and_hash(swallowing, recording):
    port, got, ended = swallowing
    body = b"y" * (RECORDED_BODY + 1)
    with plain(port, recording.tap) as connection:
        connection.upload(HttpRequest(b"PUT", b"/up", body=body), timeout=10)
    assert ended.wait(5)
    assert len(got[0]) > len(body)
    sent = recording.sent()
    assert b"y" * 100 not in sent
    assert sent.startswith(b"PUT /up HTTP/1.1\r\n")
    assert hashlib.sha256(body).hexdigest().encode() in sent


def test_raw_bytes_and_an_answer_in_parts(serve: Serve):
    def handle(peer: socket.socket) -> None:
        head_of(peer)
        peer.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        threading.Event().wait(0.05)
        peer.sendall(b"2\r\nde\r\n0\r\n\r\n")
        peer.recv(100)

    with plain(serve(handle)) as connection:
        assert connection.send(b"GET / HTTP/1.1\r\n")
        assert connection.send(b"\r\n")
        got = connection.receive(timeout=2)
        assert isinstance(got, HttpResponse)
        assert got.body == b"abcde"
