"""CAN links over python-can's virtual bus and over a socketcand server of our own."""

# ruff: noqa: ARG001, ARG002, ARG005 - peers take what their protocol or library hands them

from __future__ import annotations

import errno
import socket
import threading
import time
from dataclasses import replace
from itertools import count
from pathlib import Path

import can
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.capture import Direction
from harness.errors import BenchFault, LinkLost, UsageError
from harness.links.can import CanFrame, CanLink, PythonCanTransport, open_can, open_socketcand
from harness.links.socketcand import ElementParser, encode_send, parse_frame

BUSES = (f"bus{number}" for number in count())


def virtual_pair(recording) -> tuple[CanLink, can.BusABC]:
    channel = next(BUSES)
    link = open_can(interface="virtual", channel=channel, name="can", tap=recording.tap)
    return link, can.Bus(interface="virtual", channel=channel)


# python-can


def test_frames_of_every_kind_cross_and_are_recorded(recording):
    link, peer = virtual_pair(recording)
    sent = [
        CanFrame(0x123, b"\x01\x02"),
        CanFrame(0x1ABCDEF0, b"\xff" * 8, extended=True),
        CanFrame(0x7FF, b"\0\0\0", remote=True),
        CanFrame(0, b""),
    ]
    for frame in sent:
        link.send(frame)
    for frame in sent:
        message = peer.recv(1)
        assert message is not None
        assert (message.arbitration_id, message.is_extended_id) == (frame.can_id, frame.extended)
        assert (message.is_remote_frame, message.dlc) == (frame.remote, len(frame.data))
        peer.send(message)
    assert link.wait_for(lambda frame: frame.can_id == 0, timeout=1, since_ns=0) is not None
    received = link.history()
    assert [(f.can_id, f.data, f.extended, f.remote) for f in received] == [
        (f.can_id, f.data, f.extended, f.remote) for f in sent
    ]
    assert link.received == 4
    words = [0x123, 0x80000000 | 0x1ABCDEF0, 0x40000000 | 0x7FF, 0]
    frames = recording.frames()
    assert [f.channel for f in frames if f.direction is Direction.TO_DEVICE] == words
    assert [f.channel for f in frames if f.direction is Direction.FROM_DEVICE] == words
    link.close()
    peer.shutdown()


def test_waiting_counts_from_now_unless_told_otherwise(recording):
    link, peer = virtual_pair(recording)
    peer.send(can.Message(arbitration_id=0x100, is_extended_id=False))
    assert link.wait_for(lambda _: True, timeout=1, since_ns=0) is not None
    assert link.wait_for(lambda _: True, timeout=0.1) is None, "an old frame answers no new question"
    threading.Timer(0.1, lambda: peer.send(can.Message(arbitration_id=0x101, is_extended_id=False))).start()
    assert [frame.can_id for frame in link.collect(0.3)] == [0x101]
    assert [frame.can_id for frame in link.history(link.last_rx_ns or 0)] == [0x101]
    with pytest.raises(UsageError):
        link.send(CanFrame(0x800, b""))
    link.close()
    with pytest.raises(LinkLost):
        link.wait_for(lambda _: True, timeout=1)
    peer.shutdown()


def test_the_reader_outlives_passing_errors_but_not_a_dead_adapter(recording):
    """python-can's Notifier stops at the first error; a bus-off must not end the record."""

    class Flaky(can.BusABC):
        def __init__(self) -> None:
            super().__init__(channel="flaky")
            self.script: list[Exception | can.Message] = [can.CanOperationError("bus off")] * 3
            self.script += [can.Message(arbitration_id=7, is_extended_id=False)]

        def _recv_internal(self, timeout):
            if not self.script:
                raise can.CanOperationError("unplugged")
            item = self.script.pop(0)
            if isinstance(item, Exception):
                raise item
            return item, False

        def send(self, msg, timeout=None):
            raise can.CanOperationError("no")

    started = time.monotonic()
    link = CanLink("flaky", PythonCanTransport(Flaky(), what="flaky"), recording.tap)
    assert link.wait_for(lambda frame: frame.can_id == 7, timeout=1, since_ns=0) is not None
    with pytest.raises(LinkLost, match="unplugged"):
        link.wait_for(lambda frame: frame.can_id == 8, timeout=5)
    assert time.monotonic() - started < 1.2
    link.close()


class Scripted(can.BusABC):
    """A bus of python-can that does what a list says, then stays silent."""

    def __init__(self, script, *, sending=None, state=can.BusState.ACTIVE) -> None:
        super().__init__(channel="scripted")
        self.script, self.sending, self._said = list(script), sending, state

    @property
    def state(self):
        return self._said if not self.script else can.BusState.ACTIVE

    def _recv_internal(self, timeout):
        if not self.script:
            threading.Event().wait(timeout)
            return None, False
        item = self.script.pop(0)
        if isinstance(item, Exception):
            raise item
        return item, False

    def send(self, msg, timeout=None):
        if self.sending is not None:
            raise self.sending


def test_an_interface_that_is_gone_says_so_once_and_is_lost(recording):
    """Linux reports ENODEV or ENETDOWN a single time; after that the socket is as silent as an idle bus."""
    for number in (errno.ENODEV, errno.ENETDOWN):
        gone = can.CanOperationError("Error receiving", number)
        link = CanLink("can", PythonCanTransport(Scripted([gone]), what="can"), recording.tap)
        with pytest.raises(LinkLost, match="Error receiving"):
            link.wait_for(lambda _: True, timeout=5)
        link.close()


def test_who_sends_may_be_told_of_the_loss_instead_of_the_reader(recording):
    bus = Scripted([], sending=can.CanOperationError("Failed to transmit", errno.ENXIO))
    link = CanLink("can", PythonCanTransport(bus, what="can"), recording.tap)
    with pytest.raises(LinkLost):
        link.send(CanFrame(1, b""))
    assert link.lost is not None, "no waiter takes it for silence"
    link.close()


@pytest.mark.parametrize("told", ["frame", "state"])
def test_a_controller_off_its_bus_is_lost(recording, told):
    error = can.Message(arbitration_id=0x40, is_error_frame=True, is_extended_id=False)
    passive = can.Message(arbitration_id=0x04, is_error_frame=True, is_extended_id=False)
    script = [passive, error] if told == "frame" else [passive]
    state = can.BusState.ERROR if told == "state" else can.BusState.ACTIVE
    link = CanLink("can", PythonCanTransport(Scripted(script, state=state), what="can"), recording.tap)
    with pytest.raises(LinkLost, match="bus-off"):
        link.wait_for(lambda _: False, timeout=5)
    assert any(frame.error for frame in link.history()), "what the adapter said is kept"
    link.close()


def test_unknown_interfaces_and_absent_adapters(recording):
    with pytest.raises(UsageError):
        open_can(interface="nonsense", channel="x", name="can", tap=recording.tap)
    with pytest.raises(UsageError, match="dead server"):
        open_can(interface="socketcand", channel="x", name="can", tap=recording.tap)
    with pytest.raises(BenchFault):
        open_can(interface="socketcan", channel="can77", name="can", tap=recording.tap)


# socketcand

SERVER = r"""
import socket, sys, threading, time
address = sys.argv[1]
server = socket.socket(socket.AF_UNIX) if address.startswith("/") else socket.socket()
server.bind(address if address.startswith("/") else ("127.0.0.1", 0))
server.listen()
print(server.getsockname()[1] if not address.startswith("/") else "ready", flush=True)
connection, _ = server.accept()
connection.sendall(b"< hi >")
text = b""
while True:
    data = connection.recv(4096)
    if not data:
        break
    text += data
    while b">" in text:
        element, text = text.split(b">", 1)
        words = element.strip(b"< ").decode().split()
        if words[0] == "open" and words[1] != "can0":
            connection.sendall(b"< error could not open bus >")
        elif words[0] in ("open", "rawmode"):
            connection.sendall(b"< ok >")
        elif words[0] == "echo":
            connection.sendall(b"< echo >")
        elif words[0] == "send":
            answer = f"< frame {words[1]} {time.time():.6f} {''.join(words[3:])} >".encode()
            for byte in answer:
                connection.sendall(bytes([byte]))
"""


@pytest.fixture(params=["tcp", "unix"])
def server(request, run_python, tmp_path: Path):
    path = str(tmp_path / "can.sock")
    process = run_python(SERVER, path if request.param == "unix" else "tcp")
    line = process.stdout.readline().strip()
    return process, f"unix:{path}" if request.param == "unix" else f"tcp:127.0.0.1:{line}"


def test_socketcand_sends_receives_and_tells_silence_from_loss(server, recording):
    process, address = server
    link = open_socketcand(address, "can0", name="can", tap=recording.tap)
    link.send(CanFrame(0x200, b"\x01\x00\xff"))
    back = link.wait_for(lambda frame: frame.can_id == 0x200, timeout=2, since_ns=0)
    assert back is not None
    assert (back.data, back.extended) == (b"\x01\x00\xff", False)
    link.send(CanFrame(0x12, b"", extended=True))
    back = link.wait_for(lambda frame: frame.extended, timeout=2, since_ns=0)
    assert back is not None
    assert back.can_id == 0x12
    idle = 1.2 if address.startswith("tcp") else 0.2
    assert link.wait_for(lambda _: True, timeout=idle) is None, "an idle bus is silence, however long"
    assert link.lost is None
    killed: list[float] = []
    threading.Timer(0.2, lambda: (killed.append(time.monotonic()), process.kill())).start()
    with pytest.raises(LinkLost):
        link.wait_for(lambda _: True, timeout=10)
    assert time.monotonic() - killed[0] < 1
    with pytest.raises(LinkLost):
        link.send(CanFrame(1, b""))
    link.close()


def test_a_frozen_tcp_server_is_loss_though_its_connection_stands(run_python, recording):
    process = run_python(SERVER, "tcp")
    link = open_socketcand(f"tcp:127.0.0.1:{process.stdout.readline().strip()}", "can0", name="can", tap=recording.tap)
    assert link.collect(0.5) == []
    process.send_signal(19)  # SIGSTOP: the kernel keeps the connection, as with a pulled cable
    started = time.monotonic()
    with pytest.raises(LinkLost, match="no longer answers"):
        link.wait_for(lambda _: True, timeout=10)
    assert time.monotonic() - started < 1.05
    link.close()


def test_a_bus_that_is_not_there(server, recording):
    with pytest.raises(BenchFault, match="could not open bus"):
        open_socketcand(server[1], "can9", name="can", tap=recording.tap)


def test_servers_that_are_none(serve, recording):
    port = serve(lambda connection: connection.sendall(b"SSH-2.0-dropbear\r\n" * 200) or connection.recv(1))
    with pytest.raises(BenchFault, match="socketcand server"):
        open_socketcand(f"tcp:127.0.0.1:{port}", "can0", name="can", tap=recording.tap, timeout=0.3)
    port = serve(lambda connection: connection.recv(1))
    with pytest.raises(BenchFault, match="nothing"):
        open_socketcand(f"tcp:127.0.0.1:{port}", "can0", name="can", tap=recording.tap, timeout=0.3)
    with pytest.raises(BenchFault):
        open_socketcand("tcp:127.0.0.1:1", "can0", name="can", tap=recording.tap)
    for address in ("can0", "tcp:x", "tcp:h:p", "unix:"):
        with pytest.raises(UsageError):
            open_socketcand(address, "can0", name="can", tap=recording.tap)


def test_garbage_between_frames_is_passed_over(serve, recording):
    wire = (
        b"\xff\xfe< frame 123 1.000000 0102 >junk< frame 123 1.0 010 >< frame zz 1.0 >< frame 999 1.0 00 >"
        b"< < frame 321 1.000000  >< frame 00000456 9.9 FF >< error 001 5.5 >"
    )

    def handle(connection: socket.socket) -> None:
        connection.sendall(b"< hi >")
        connection.recv(100)
        connection.sendall(b"< ok >")
        connection.recv(100)
        connection.sendall(b"< ok >" + wire[:30])
        connection.sendall(wire[30:])
        connection.recv(100)

    link = open_socketcand(f"tcp:127.0.0.1:{serve(handle)}", "can0", name="can", tap=recording.tap, keepalive=False)
    assert link.wait_for(lambda frame: frame.error, timeout=2, since_ns=0) is not None
    assert [(f.can_id, f.data, f.extended) for f in link.history() if not f.error] == [
        (0x123, b"\x01\x02", False),
        (0x321, b"", False),
        (0x456, b"\xff", True),
    ]
    link.close()


frames = st.one_of(
    st.builds(CanFrame, st.integers(0, 0x7FF), st.binary(max_size=8), remote=st.just(False)),
    st.builds(CanFrame, st.integers(0, 0x1FFFFFFF), st.binary(max_size=8), extended=st.just(True)),
    st.builds(lambda i, n: CanFrame(i, bytes(n), remote=True), st.integers(0, 0x7FF), st.integers(0, 8)),
    st.builds(CanFrame, st.integers(0, 0x7FF), st.binary(min_size=9, max_size=64), fd=st.just(True)),
)


def as_server_says(frame: CanFrame) -> str:
    """Turn our command into the server's notice, by the rules of the protocol text."""
    words = encode_send(frame).decode().strip("< >").split()
    if words[0] == "fdsend":
        return f"fdframe {words[1]} {words[2]:0>2} 12.000345 {''.join(words[4:])}"
    return f"frame {words[1]} 12.000345 {''.join(words[3:])}".rstrip()


@given(frames)
def test_a_frame_survives_the_text_form(frame):
    assert parse_frame(as_server_says(frame)) == replace(frame, stamp=12.000345)


@given(st.lists(frames, max_size=5), st.lists(st.integers(0, 400), max_size=8))
def test_elements_survive_any_cut(sent, cuts):
    wire = b"".join(b"< " + as_server_says(frame).encode() + b" >" for frame in sent)
    parser = ElementParser()
    got = []
    bounds = [0, *sorted(min(cut, len(wire)) for cut in cuts), len(wire)]
    for start, end in zip(bounds, bounds[1:], strict=False):
        got += [parse_frame(element.text) for element in parser.feed(wire[start:end])]
    assert got == [replace(frame, stamp=12.000345) for frame in sent]


@given(st.lists(st.binary(max_size=300), max_size=10))
def test_hostile_text_is_never_fatal_and_never_kept_for_long(chunks):
    parser = ElementParser()
    for chunk in [*chunks, b"<" * 2000]:
        for element in parser.feed(chunk):
            frame = None if element.junk else parse_frame(element.text)
            assert frame is None or frame.can_id <= 0x1FFFFFFF
    assert [element.text for element in parser.feed(b">< frame 7FF 1.0 AA >")][-1] == "frame 7FF 1.0 AA"


def test_a_remote_frame_is_not_mistaken_for_an_extended_one():
    assert encode_send(CanFrame(0x123, b"\0\0", remote=True)) == b"< send 040000123 2 00 00 >"
    assert encode_send(CanFrame(0x123, b"\x0a", extended=True)) == b"< send 00000123 1 0A >"
    assert encode_send(CanFrame(0x1, b"")) == b"< send 001 0 >"


def test_a_full_bus_is_taken_in_without_loss(recording):
    link, peer = virtual_pair(recording)
    seen: list[int] = []
    leave = link.subscribe(lambda frame: seen.append(int.from_bytes(frame.data, "big")))
    for number in range(3000):
        peer.send(can.Message(arbitration_id=1, data=number.to_bytes(2, "big"), is_extended_id=False))
    assert link.wait_for(lambda frame: frame.data == (2999).to_bytes(2, "big"), timeout=5, since_ns=0) is not None
    assert seen == list(range(3000))
    leave()
    link.close()
    peer.shutdown()
