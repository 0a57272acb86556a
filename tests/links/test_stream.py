"""StreamLink: silence, loss, hostile streams, and a record of everything."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from subprocess import Popen

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.capture import Direction, NullTap
from harness.errors import LinkLost
from harness.links.base import LinkStalled, PeerClosed
from harness.links.descriptors import socket_transport
from harness.links.dialer import HostDialer, connect
from harness.links.stream import HISTORY_BYTES, WINDOW_BYTES, StreamLink


@pytest.fixture
def pair(recording) -> Iterator[tuple[StreamLink, socket.socket]]:
    ours, peer = socket.socketpair()
    link = StreamLink("console", socket_transport(ours, what="console"), recording.tap)
    yield link, peer
    link.close()
    peer.close()


def later(seconds: float, action: Callable[[], object]) -> None:
    timer = threading.Timer(seconds, action)
    timer.daemon = True
    timer.start()


def test_expect_finds_what_arrives_in_pieces_and_says_when(pair):
    link, peer = pair
    since = link.mark()
    peer.sendall(b"boot\r\nlog")
    before = time.monotonic_ns()
    later(0.1, lambda: peer.sendall(b"in: rest"))
    match = link.expect(re.compile(rb"(log)in: "), since=since, timeout=2)
    assert match is not None
    assert match.data == b"boot\r\nlogin: "
    assert match.groups == (b"log",)
    assert (match.start, match.end) == (6, 13)
    assert 80e6 < match.at_ns - before < 1e9
    assert link.expect(b"rest", since=match.end, timeout=1) is not None
    assert link.expect(b"login", since=match.end, timeout=0.05) is None


def test_bytes_are_recorded_whether_or_not_anybody_waits(pair, recording):
    link, peer = pair
    link.send(b"question")
    assert peer.recv(100) == b"question"
    peer.sendall(b"answer")
    link.read_at_least(6, since=0, timeout=1)
    assert [(frame.direction, frame.data) for frame in recording.frames()] == [
        (Direction.TO_DEVICE, b"question"),
        (Direction.FROM_DEVICE, b"answer"),
    ]


def test_a_mute_peer_is_silence(pair):
    link, _ = pair
    started = time.monotonic()
    assert link.expect(b"x", since=0, timeout=0.2) is None
    assert 0.19 < time.monotonic() - started < 0.6
    assert link.read_at_least(1, since=0, timeout=0.05) == b""
    assert link.lost is None


def test_a_killed_peer_is_loss_within_a_second_and_stays_so(recording, run_python):
    peer: Popen[str] = run_python(
        "import socket,time\n"
        "s=socket.create_server(('127.0.0.1',0)); print(s.getsockname()[1],flush=True)\n"
        "c,_=s.accept(); c.sendall(b'hello'); time.sleep(60)\n"
    )
    assert peer.stdout is not None
    port = int(peer.stdout.readline())
    sock = connect(HostDialer(), "127.0.0.1", port, timeout=2)
    link = StreamLink("peer", socket_transport(sock, what="peer"), recording.tap)
    assert link.expect(b"hello", since=0, timeout=2) is not None
    killed: list[float] = []
    later(0.2, lambda: (killed.append(time.monotonic()), peer.kill()))
    with pytest.raises(LinkLost):
        link.expect(b"never", since=0, timeout=10)
    assert time.monotonic() - killed[0] < 1
    for attempt in (
        lambda: link.expect(b"never", since=0, timeout=1),
        lambda: link.send(b"x"),
        lambda: link.wait_quiet(0.5, 1),
    ):
        with pytest.raises(LinkLost):
            attempt()
    assert link.expect(b"hello", since=0, timeout=0) is not None, "what arrived before the loss can still be found"
    link.close()


def test_every_waiter_hears_of_a_loss(pair):
    link, peer = pair
    heard: list[BaseException] = []

    def wait() -> None:
        try:
            link.expect(b"never", since=0, timeout=10)
        except LinkLost as lost:
            heard.append(lost)

    waiters = [threading.Thread(target=wait) for _ in range(5)]
    for waiter in waiters:
        waiter.start()
    peer.close()
    for waiter in waiters:
        waiter.join(1)
    assert len(heard) == 5
    assert len({id(lost) for lost in heard}) == 5
    assert all(isinstance(lost, PeerClosed) for lost in heard)


def test_closing_wakes_waiters_and_is_idempotent(pair):
    link, _ = pair
    started = time.monotonic()
    later(0.1, link.close)
    with pytest.raises(LinkLost, match="closed by the bench"):
        link.expect(b"never", since=0, timeout=10)
    assert time.monotonic() - started < 1
    link.close()
    link.close()
    assert link.lost is not None


def test_history_is_bounded_and_offsets_stay_absolute(pair):
    link, peer = pair
    block = bytes(range(256)) * 1024
    blocks = (HISTORY_BYTES * 2) // len(block)
    feeder = threading.Thread(target=lambda: [peer.sendall(block) for _ in range(blocks)])
    feeder.start()
    total = blocks * len(block)
    link.read_at_least(total, since=0, timeout=20)
    feeder.join()
    assert link.mark() == total
    kept = link.read_since(0)
    assert HISTORY_BYTES <= len(kept) <= HISTORY_BYTES + HISTORY_BYTES // 4 + 65536
    assert kept == (block * blocks)[-len(kept) :]
    mark = link.mark()
    peer.sendall(b"<end>")
    match = link.expect(b"<end>", since=mark, timeout=2)
    assert match is not None
    assert match.end == total + 5


def test_a_match_far_behind_the_start_is_found(pair):
    link, peer = pair
    sender = threading.Thread(target=lambda: peer.sendall(b"." * (3 * WINDOW_BYTES + 17) + b"needle" + b"." * 1000))
    sender.start()
    match = link.expect(re.compile(rb"n(ee)dle"), since=0, timeout=5)
    sender.join()
    assert match is not None
    assert match.start == 3 * WINDOW_BYTES + 17


def test_a_flood_of_ff_neither_blocks_nor_fools_the_search(pair):
    link, peer = pair
    stop = threading.Event()

    def flood() -> None:
        while not stop.is_set():
            peer.sendall(b"\xff" * 4096)

    peer.settimeout(5)
    flooder = threading.Thread(target=flood)
    flooder.start()
    started = time.monotonic()
    try:
        assert link.expect(re.compile(rb"[^\xff]login"), since=0, timeout=0.5) is None
        assert time.monotonic() - started < 1.5
        started = time.monotonic()
        link.wait_quiet(0.2, 0.4)
        assert 0.3 < time.monotonic() - started < 1.4
    finally:
        stop.set()
        flooder.join()


def test_a_peer_that_does_not_read_stalls_the_sender(pair):
    link, _ = pair
    started = time.monotonic()
    with pytest.raises(LinkStalled, match="of 20000000 bytes"):
        link.send(b"x" * 20_000_000, timeout=0.3)
    assert time.monotonic() - started < 1.5


def test_wait_quiet_returns_what_came_meanwhile(pair):
    link, peer = pair
    for delay in (0.05, 0.1, 0.15):
        later(delay, lambda: peer.sendall(b"x"))
    started = time.monotonic()
    assert link.wait_quiet(0.2, 5) == b"xxx"
    assert 0.3 < time.monotonic() - started < 1


def test_subscribers_get_each_byte_once_until_they_leave(pair):
    link, peer = pair
    seen: list[tuple[bytes, int]] = []
    leave = link.subscribe(lambda data, at_ns: seen.append((data, at_ns)))
    peer.sendall(b"one")
    link.read_at_least(3, since=0, timeout=1)
    link.wait_quiet(0.05, 1)
    leave()
    peer.sendall(b"two")
    link.read_at_least(6, since=0, timeout=1)
    link.wait_quiet(0.05, 1)
    assert b"".join(data for data, _ in seen) == b"one"
    assert link.last_rx_ns is not None
    assert seen[0][1] <= link.last_rx_ns


def test_a_failing_subscriber_is_loud(pair):
    link, peer = pair
    link.subscribe(lambda data, _at_ns: data[99])
    peer.sendall(b"x")
    with pytest.raises(LinkLost, match="IndexError"):
        link.read_at_least(2, since=0, timeout=2)


@settings(max_examples=40, deadline=None)
@given(
    noise=st.lists(st.binary(min_size=1, max_size=60).filter(lambda data: b"@" not in data), max_size=6),
    needle=st.binary(min_size=1, max_size=20).map(lambda data: b"@" + data.replace(b"@", b"") + b"@"),
    cut=st.integers(1, 7),
)
def test_a_literal_is_found_however_the_stream_is_cut(noise, needle, cut):
    ours, peer = socket.socketpair()
    link = StreamLink("cut", socket_transport(ours, what="cut"), NullTap())
    stream = b"".join(noise) + needle + b"tail"
    try:
        for start in range(0, len(stream), cut):
            peer.sendall(stream[start : start + cut])
        match = link.expect(needle, since=0, timeout=5)
        assert match is not None
        assert match.data == b"".join(noise) + needle
    finally:
        link.close()
        peer.close()
