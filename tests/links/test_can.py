"""CAN links over python-can's virtual bus, or over the bus that `--can` names."""

from __future__ import annotations

import errno
import threading
import time

import can
import pytest

from harness.capture import Direction
from harness.errors import BenchFault, LinkLost, UsageError
from harness.links.can import CanFrame, CanLink, open_can
from harness.links.python_can import PythonCanTransport


def test_frames_of_every_kind_cross_and_are_recorded(bus, recording):
    link, peer = bus.link(recording.tap), bus.peer()
    sent = [
        CanFrame(0x123, b"\x01\x02"),
        CanFrame(0x1ABCDEF0, b"\xff" * 8, extended=True),
        CanFrame(0x7FF, b"\0\0\0", remote=True),
        CanFrame(0x321, bytes(range(64)), fd=True),
        CanFrame(0x322, b"\x01", fd=True),
        CanFrame(0, b""),
    ]
    for frame in sent:
        link.send(frame)
    for frame in sent:
        message = peer.recv(1)
        assert message is not None
        assert (message.arbitration_id, message.is_extended_id) == (frame.can_id, frame.extended)
        assert (message.is_remote_frame, message.dlc) == (frame.remote, len(frame.data))
        assert message.is_fd == frame.fd
        peer.send(message)
    assert link.wait_for(lambda frame: frame.can_id == 0, timeout=1, since_ns=0) is not None
    received = link.history()
    assert [(f.can_id, f.data, f.extended, f.remote, f.fd) for f in received] == [
        (f.can_id, f.data, f.extended, f.remote, f.fd) for f in sent
    ]
    assert link.received == 6
    words = [0x123, 0x80000000 | 0x1ABCDEF0, 0x40000000 | 0x7FF, 0x321, 0x322, 0]
    frames = recording.frames()
    assert [f.channel for f in frames if f.direction is Direction.TO_DEVICE] == words
    assert [f.channel for f in frames if f.direction is Direction.FROM_DEVICE] == words
    link.close()
    peer.shutdown()


def test_waiting_counts_from_now_unless_told_otherwise(bus, recording):
    link, peer = bus.link(recording.tap), bus.peer()
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


def test_a_full_bus_is_taken_in_without_loss(bus, recording):
    link, peer = bus.link(recording.tap), bus.peer()
    seen: list[int] = []
    leave = link.subscribe(lambda frame: seen.append(int.from_bytes(frame.data, "big")))
    for number in range(3000):
        peer.send(can.Message(arbitration_id=1, data=number.to_bytes(2, "big"), is_extended_id=False))
    assert link.wait_for(lambda frame: frame.data == (2999).to_bytes(2, "big"), timeout=60, since_ns=0) is not None
    assert seen == list(range(3000))
    assert not link.dropped
    leave()
    link.close()
    peer.shutdown()
