"""Files the bench offers: fetched as a device would, over a plain socket."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import urllib.error
import urllib.request

import pytest

from harness.errors import BenchFault
from harness.links import file_server
from harness.links.dialer import HostDialer
from harness.links.file_server import MOST_CONNECTIONS, Fetched, FileServer, Offer, serve

BUNDLE = bytes(range(256)) * 1000


def fetch(server: FileServer, path: str, *, timeout: float = 5) -> bytes:
    """Send a request as plain as can be, and read to the end."""
    with socket.create_connection((server.host, server.port), timeout=timeout) as peer:
        peer.sendall(f"GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())
        data = b""
        while piece := peer.recv(65536):
            data += piece
    return data.partition(b"\r\n\r\n")[2]


def noted(server: FileServer, *expected: Fetched) -> bool:
    """Wait until just these requests are noted."""
    tick = threading.Event()
    for _ in range(100):
        if server.requests == expected:
            return True
        tick.wait(0.02)
    return False


def test_a_file_is_fetched_whole_and_noted(recording):
    with serve(HostDialer(), "127.0.0.1", {"/good": BUNDLE}, tap=recording.tap) as server:
        assert not server.wait_asked(timeout=0.05)
        with urllib.request.urlopen(server.url("/good"), timeout=5) as answer:
            assert answer.read() == BUNDLE
        assert server.wait_asked(timeout=0)
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(server.url("/other"), timeout=5)
        assert noted(server, Fetched("/good", len(BUNDLE)), Fetched("/other", 0))
    assert b"GET /good HTTP/1.1" in recording.received()
    with pytest.raises(OSError, match="refused"):
        fetch(server, "/good")


def test_a_transfer_is_cut_or_held_up():
    files = {"/cut": Offer(BUNDLE, first=1000), "/held": Offer(BUNDLE, first=2000, stall=True)}
    with serve(HostDialer(), "127.0.0.1", files) as server:
        assert fetch(server, "/cut") == BUNDLE[:1000]
        with pytest.raises(TimeoutError):
            fetch(server, "/held", timeout=0.5)
        assert noted(server, Fetched("/cut", 1000), Fetched("/held", 2000))


def test_a_device_that_hangs_up_is_no_fault():
    with serve(HostDialer(), "127.0.0.1", {"/good": bytes(64 * 1024 * 1024)}) as server:
        with socket.create_connection((server.host, server.port), timeout=5) as peer:
            peer.sendall(b"GET /good HTTP/1.1\r\n\r\n")
            peer.recv(100)
            (fetched,) = server.requests
        assert fetched.path == "/good"
        assert fetched.sent < 64 * 1024 * 1024


def test_what_is_too_much_is_turned_away_and_counted(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(file_server, "MOST_NOTED", 2)
    with serve(HostDialer(), "127.0.0.1", {"/held": Offer(BUNDLE, first=10, stall=True)}) as server:
        with contextlib.ExitStack() as kept:
            for _ in range(MOST_CONNECTIONS):
                peer = kept.enter_context(socket.create_connection((server.host, server.port), timeout=5))
                peer.sendall(b"GET /held HTTP/1.1\r\n\r\n")
                assert peer.recv(10)
            with contextlib.suppress(ConnectionError):
                assert fetch(server, "/held") == b""
        assert noted(server, Fetched("/held", 10), Fetched("/held", 10))
        assert server.more == MOST_CONNECTIONS - 2


def test_a_head_that_trickles_is_given_up(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(file_server, "REQUEST_WITHIN", 0.3)
    with serve(HostDialer(), "127.0.0.1", {}) as server:
        with socket.create_connection((server.host, server.port), timeout=0.05) as peer:
            start, over = time.monotonic(), False
            while not over and time.monotonic() - start < 5:
                try:
                    peer.sendall(b"G")
                    over = peer.recv(1) == b""
                except TimeoutError:
                    continue
                except ConnectionError:
                    over = True
            assert over
        assert server.requests == ()


def test_an_address_that_is_not_the_benchs_is_named():
    with pytest.raises(BenchFault, match="192.0.2.77"), serve(HostDialer(), "192.0.2.77", {}):
        pass


def test_ipv6_addresses_stand_in_brackets():
    with serve(HostDialer(), "::1", {"/good": BUNDLE}) as server:
        assert server.url("/good") == f"http://[::1]:{server.port}/good"
        with urllib.request.urlopen(server.url("/good"), timeout=5) as answer:
            assert answer.read() == BUNDLE
