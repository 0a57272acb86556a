"""What only SocketCAN has: interfaces that go down, a controller off the bus, a kernel that drops, kernel ISO-TP.

Needs root and `--can socketcan:INTERFACE` on a virtual interface; `make socketcan` has both in a guest.
"""

from __future__ import annotations

import contextlib
import errno
import json
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator

import can
import pytest

from harness.capture import NullTap
from harness.errors import BenchFault, LinkLost, UsageError
from harness.links import socketcan
from harness.links.base import LinkStalled
from harness.links.can import CanFrame, CanLink, open_can
from harness.links.can_errors import ErrorClass, error_text
from harness.links.isotp import IsoTpLink

BUS_OFF = CanFrame(ErrorClass.BUS_OFF, bytes(8), error=True)
RESTARTED = CanFrame(ErrorClass.RESTARTED, bytes(8), error=True)


@pytest.fixture
def interface(bus) -> str:
    """The interface that `--can` names."""
    if bus.interface != "socketcan":
        pytest.skip("needs --can socketcan:INTERFACE; tests/socketcan runs this in a guest that has one")
    return bus.channel


@pytest.fixture
def spare(interface: str) -> Iterator[str]:  # noqa: ARG001 - skips where there is none
    """An interface that may be set down, taken away, or throttled."""
    name = "vcan77"
    ip("link", "add", name, "mtu", "72", "type", "vcan")
    ip("link", "set", name, "up")
    yield name
    with contextlib.suppress(subprocess.CalledProcessError):
        ip("link", "del", name)


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def open_spare(name: str, **options: object) -> CanLink:
    return open_can(interface="socketcan", channel=name, name="can", tap=NullTap(), extra=options)


@contextlib.contextmanager
def raw(name: str) -> Iterator[socket.socket]:
    """A node without any library."""
    with socket.socket(socket.AF_CAN, socket.SOCK_RAW, socket.CAN_RAW) as node:
        node.bind((name,))
        yield node


def put(node: socket.socket, frame: CanFrame) -> None:
    """Send, and wait where the receivers' backlog is full."""
    data = struct.pack("=IB3x8s", frame.word, len(frame.data), frame.data)
    deadline = time.monotonic() + 30
    while True:
        try:
            node.send(data)
            return
        except OSError as error:
            if error.errno != errno.ENOBUFS or time.monotonic() > deadline:
                raise


# Error frames


def test_an_error_frame_is_recorded_whole_and_is_nobodys_message(bus, interface, recording):
    link = bus.link(recording.tap)
    overflow = CanFrame(ErrorClass.CONTROLLER, b"\0\x01\0\0\0\0\0\0", error=True)
    with raw(interface) as node:
        put(node, overflow)
        put(node, CanFrame(0x100, b"\x01"))
    assert link.wait_for(lambda frame: frame.can_id == 0x100, timeout=5, since_ns=0) is not None
    (seen,) = [frame for frame in link.history() if frame.error]
    assert (seen.can_id, seen.data) == (overflow.can_id, overflow.data)
    assert error_text(seen) == "controller (receive buffer overflow)"
    assert link.dropped == 1, "the adapter itself lost something"
    assert link.lost is None
    assert [frame.channel for frame in recording.frames()] == [0x2000_0004, 0x100]
    link.close()


@pytest.mark.parametrize("then", [None, RESTARTED], ids=["stays", "restarts"])
def test_a_controller_off_the_bus_is_loss_and_no_silence(spare, then):
    """Even if it restarts soon: what was sent meanwhile was not heard."""
    link = open_spare(spare)
    with raw(spare) as node:
        put(node, BUS_OFF)
        if then:
            put(node, then)
        with pytest.raises(LinkLost, match="off the bus"):
            link.wait_for(lambda frame: not frame.error, timeout=30)
    link.close()


def test_a_link_can_be_told_to_hear_no_error_frames(spare):
    link = open_spare(spare, ignore_rx_error_frames=True)
    with raw(spare) as node:
        put(node, BUS_OFF)
        put(node, CanFrame(0x100, b""))
    assert link.wait_for(lambda _: True, timeout=5, since_ns=0) == link.history()[0]
    assert not link.history()[0].error
    link.close()


# The interface


@pytest.mark.parametrize(("wanted", "opens"), [(250000, True), (500000, False), (None, True)])
def test_an_interface_set_up_for_another_bit_rate_is_not_opened(spare, wanted, opens, tmp_path, monkeypatch):
    """A virtual interface has no rate: `ip` tells of one here, as it does of a controller."""
    program = tmp_path / "ip"
    told = [{"linkinfo": {"info_data": {"bittiming": {"bitrate": 250000}}}}]
    program.write_text(f"#!/bin/sh\necho '{json.dumps(told)}'\n")
    program.chmod(0o755)
    with monkeypatch.context() as host:
        host.setenv("PATH", str(tmp_path))
        if opens:
            open_can(interface="socketcan", channel=spare, name="can", tap=NullTap(), bitrate=wanted).close()
        else:
            with pytest.raises(BenchFault, match="set up for 250000 bit/s, the rig file says 500000"):
                open_can(interface="socketcan", channel=spare, name="can", tap=NullTap(), bitrate=wanted)


def test_an_interface_set_down_is_loss_and_no_silence(spare):
    link = open_spare(spare)
    ip("link", "set", spare, "down")
    with pytest.raises(LinkLost, match="is down"):
        link.wait_for(lambda _: True, timeout=30)
    link.close()


def test_an_interface_that_was_down_for_a_moment_is_heard_again(spare):
    link = open_spare(spare)
    subprocess.run(["ip", "-batch", "-"], input=f"link set {spare} down\nlink set {spare} up\n", text=True, check=True)
    assert link.collect(3 * socketcan.TRANSIENT_SECONDS) == []
    with raw(spare) as node:
        put(node, CanFrame(0x100, b""))
    assert link.wait_for(lambda _: True, timeout=5, since_ns=0) is not None
    link.close()


def test_an_adapter_pulled_out_is_loss_for_who_reads_and_who_sends(spare):
    link = open_spare(spare)
    ip("link", "del", spare)
    with pytest.raises(LinkLost):
        link.send(CanFrame(1, b""))
    with pytest.raises(LinkLost):
        link.wait_for(lambda _: True, timeout=30)
    link.close()


def test_what_came_before_an_adapter_was_pulled_out_is_kept(spare):
    link = open_spare(spare)
    may_go_on = threading.Event()
    leave = link.subscribe(lambda _: may_go_on.wait(60) and None)
    with raw(spare) as node:
        put(node, CanFrame(0, b""))
        assert link.wait_for(lambda _: True, timeout=5, since_ns=0) is not None
        for number in range(1, 20):
            put(node, CanFrame(number, b""))
    ip("link", "del", spare)
    may_go_on.set()
    with pytest.raises(LinkLost):
        link.wait_for(lambda _: False, timeout=30)
    assert [frame.can_id for frame in link.history()] == list(range(20))
    leave()
    link.close()


def test_an_interface_that_cannot_serve_is_a_fault_of_the_bench(spare):
    ip("link", "set", spare, "down")
    with pytest.raises(BenchFault, match=f"{spare} is down"):
        open_spare(spare)
    ip("link", "set", spare, "mtu", "16")
    ip("link", "set", spare, "up")
    with pytest.raises(BenchFault, match="not set up for CAN FD"):
        open_spare(spare, fd=True)
    with pytest.raises(BenchFault, match="cannot open lo"):
        open_spare("lo")
    link = open_spare(spare)
    with pytest.raises(UsageError, match="FD on a classic bus"):
        link.send(CanFrame(1, bytes(9)))
    link.close()


def test_a_full_queue_is_waited_for_as_long_as_asked(spare):
    """A queue of four frames that lets out about 60 a second stands in for a slow bus."""
    link, twin = open_spare(spare), open_spare(spare)
    queue = ["qdisc", "add", "dev", spare, "root", "tbf", "rate", "8kbit", "burst", "32", "limit", "64"]
    subprocess.run(["tc", *queue], check=True)
    for number in range(40):
        link.send(CanFrame(number, b""), timeout=20)
    assert twin.wait_for(lambda frame: frame.can_id == 39, timeout=20, since_ns=0) is not None
    assert [frame.can_id for frame in twin.history()] == list(range(40))

    def flood() -> None:
        for number in range(1000):
            link.send(CanFrame(number, b""), timeout=0)

    with pytest.raises(LinkStalled, match="No buffer space"):
        flood()
    link.close()
    twin.close()


# What the bench loses


def test_what_the_kernel_drops_is_counted_to_the_last_frame(bus, interface, monkeypatch, recording):
    monkeypatch.setattr(socketcan, "RECEIVE_BUFFER", 65536)
    link = bus.link(recording.tap)
    may_go_on = threading.Event()
    leave = link.subscribe(lambda _: may_go_on.wait(60) and None)
    with raw(interface) as node:
        for number in range(2000):
            put(node, CanFrame(number & 0x7FF, number.to_bytes(2)))
    assert (link.dropped or 0) > 0, "also while the reader is held up"
    may_go_on.set()
    leave()
    deadline = time.monotonic() + 30
    while link.received + (link.dropped or 0) < 2000:
        assert time.monotonic() < deadline
        link.collect(0.1)
    assert link.received + (link.dropped or 0) == 2000
    numbers = [int.from_bytes(frame.data) for frame in link.history()]
    missing = set(range(2000)) - set(numbers)
    assert len(missing) == link.dropped, "the count is what the sequence says"
    link.close()
    assert len(missing) == link.dropped, "and stays when the link is closed"


def test_frames_have_the_kernels_time_in_order(bus, interface, recording):
    link = bus.link(recording.tap)
    before = time.time()
    with raw(interface) as node:
        for number in range(20):
            put(node, CanFrame(number, b""))
    assert link.wait_for(lambda frame: frame.can_id == 19, timeout=5, since_ns=0) is not None
    stamps = [frame.stamp for frame in link.history()]
    assert all(stamp is not None for stamp in stamps)
    whole = [before, *stamps, time.time()]
    assert whole == sorted(whole)
    link.close()


# Options


def test_filters_let_through_what_they_name(spare):
    link = open_spare(spare, can_filters=[{"can_id": 0x100, "can_mask": 0x7F0, "extended": False}])
    with raw(spare) as node:
        for frame in (CanFrame(0x200, b""), CanFrame(0x100, b"", extended=True), CanFrame(0x10F, b"")):
            put(node, frame)
    assert link.wait_for(lambda _: True, timeout=5, since_ns=0) is not None
    assert [(frame.can_id, frame.extended) for frame in link.history()] == [(0x10F, False)]
    link.close()


@pytest.mark.parametrize(
    "options",
    [
        {"filters": []},
        {"fd": "yes"},
        {"can_filters": {}},
        {"can_filters": [{"can_id": 0x100}]},
        {"can_filters": [{"can_id": 0x100, "can_mask": -1}]},
        {"can_filters": [{"can_id": 0x100, "can_mask": 0x7FF, "extendet": True}]},
    ],
    ids=str,
)
def test_a_wrong_option_is_the_users_mistake(options):
    with pytest.raises(UsageError, match="can: "):
        open_spare("vcan0", **options)


# ISO-TP


def test_iso_tp_with_the_kernels_own(bus, interface, recording):
    """The kernel's `can-isotp` as the device: an implementation that shares nothing with ours."""
    link = bus.link(recording.tap)
    ours = IsoTpLink(link, tx_id=0x7E0, rx_id=0x7E8, name="uds", tap=recording.tap)
    with socket.socket(socket.AF_CAN, socket.SOCK_DGRAM, socket.CAN_ISOTP) as device:
        device.bind((interface, 0x7E0, 0x7E8))
        device.settimeout(30)
        answering = threading.Thread(target=lambda: device.send(device.recv(5000)[::-1]))
        answering.start()
        payload = bytes(number % 251 for number in range(2000))
        assert ours.request(payload, timeout=30) == payload[::-1]
        answering.join()
    assert not ours.framing_errors
    ours.close()
    link.close()


def test_another_stack_on_the_same_interface(bus, interface, recording):
    """python-can's own `socketcan` and ours understand each other, CAN FD too."""
    link, peer = bus.link(recording.tap), can.Bus(interface="socketcan", channel=interface, fd=True)
    link.send(CanFrame(0x123, bytes(range(48)), fd=True))
    message = peer.recv(5)
    assert message is not None
    assert (message.arbitration_id, bytes(message.data), message.is_fd) == (0x123, bytes(range(48)), True)
    peer.shutdown()
    link.close()
