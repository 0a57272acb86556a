"""Files the bench offers: fetched as a device would, over a plain socket."""

from __future__ import annotations

import socket
import threading
import urllib.error
import urllib.request

import pytest

from harness.errors import BenchFault
from harness.links.dialer import HostDialer
from harness.links.file_server import Fetched, FileServer, Offer, serve

BUNDLE = bytes(range(256)) * 1000


def fetch(server: FileServer, path: str, *, timeout: float = 5) -> bytes:
    """Send a request as plain as can be, and read to the end."""
    with socket.create_connection((server.host, server.port), timeout=timeout) as peer:
        peer.sendall(f"GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())
        data = b""
        while piece := peer.recv(65536):
            data += piece
    return data.partition(b"\r\n\r\n")[2]


def noted(server: FileServer, count: int) -> tuple[Fetched, ...]:
    """Wait until so many requests are noted."""
    tick = threading.Event()
    for _ in range(100):
        if len(server.requests) >= count:
            break
        tick.wait(0.02)
    return server.requests


def test_a_file_is_fetched_whole_and_noted(recording):
    with serve(HostDialer(), "127.0.0.1", {"/good": BUNDLE}, tap=recording.tap) as server:
        with urllib.request.urlopen(server.url("/good"), timeout=5) as answer:
            assert answer.read() == BUNDLE
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(server.url("/other"), timeout=5)
        assert noted(server, 2) == (Fetched("/good", len(BUNDLE)), Fetched("/other", 0))
    assert b"GET /good HTTP/1.1" in recording.received()
    with pytest.raises(OSError, match="refused"):
        fetch(server, "/good")


def test_a_transfer_is_cut_or_held_up():
    files = {"/cut": Offer(BUNDLE, first=1000), "/held": Offer(BUNDLE, first=2000, stall=True)}
    with serve(HostDialer(), "127.0.0.1", files) as server:
        assert fetch(server, "/cut") == BUNDLE[:1000]
        with pytest.raises(TimeoutError):
            fetch(server, "/held", timeout=0.5)
        assert noted(server, 2) == (Fetched("/cut", 1000), Fetched("/held", 2000))


def test_a_device_that_hangs_up_is_no_fault():
    with serve(HostDialer(), "127.0.0.1", {"/good": bytes(64 * 1024 * 1024)}) as server:
        with socket.create_connection((server.host, server.port), timeout=5) as peer:
            peer.sendall(b"GET /good HTTP/1.1\r\n\r\n")
            peer.recv(100)
        (fetched,) = noted(server, 1)
        assert fetched.sent < 64 * 1024 * 1024


def test_an_address_that_is_not_the_benchs_is_named():
    with pytest.raises(BenchFault, match="192.0.2.77"), serve(HostDialer(), "192.0.2.77", {}):
        pass


def test_ipv6_addresses_stand_in_brackets():
    with serve(HostDialer(), "::1", {"/good": BUNDLE}) as server:
        assert server.url("/good") == f"http://[::1]:{server.port}/good"
        with urllib.request.urlopen(server.url("/good"), timeout=5) as answer:
            assert answer.read() == BUNDLE
