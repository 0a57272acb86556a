"""ISO-TP and UDS against a second, independent stack on the same bus, and against hostile frames."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import can
import isotp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import LinkLost
from harness.links.can import CanFrame, CanLink
from harness.links.isotp import IsoTpLink
from harness.links.uds import (
    NegativeReply,
    PositiveReply,
    UdsClient,
    UnintelligibleReply,
    code_name,
    decode_reply,
    service_name,
)


class Ecu:
    """A device: can-isotp with its own threads, and a function from request to replies."""

    def __init__(self, bus: can.BusABC) -> None:
        self.bus = bus
        address = isotp.Address(isotp.AddressingMode.Normal_11bits, txid=0x7E8, rxid=0x7E0)
        self.stack = isotp.CanStack(self.bus, address=address, params={"blocksize": 4, "stmin": 1})
        self.stack.start()
        self.answer: Callable[[bytes], list[tuple[float, bytes]]] = lambda request: [(0, request)]
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self) -> None:
        while not self.stop.is_set():
            request = self.stack.recv(block=True, timeout=0.05)
            if request is not None:
                for delay, reply in self.answer(bytes(request)):
                    self.stop.wait(delay)
                    self.stack.send(reply)

    def close(self) -> None:
        self.stop.set()
        self.thread.join()
        self.stack.stop()
        self.bus.shutdown()


@pytest.fixture
def bench(bus, recording) -> Iterator[tuple[CanLink, IsoTpLink, Ecu]]:
    can_link = bus.link(recording.tap)
    link = IsoTpLink(can_link, tx_id=0x7E0, rx_id=0x7E8, name="uds", tap=recording.tap)
    ecu = Ecu(bus.peer())
    yield can_link, link, ecu
    link.close()
    ecu.close()
    can_link.close()


@pytest.mark.parametrize("size", [1, 7, 8, 300, 4095])
def test_messages_of_any_length_come_back(bench, size, recording):
    _, link, _ = bench
    payload = bytes(number % 251 for number in range(size))
    assert link.request(payload, timeout=60) == payload
    assert not link.framing_errors
    assert [f.data for f in recording.frames() if f.data == payload and f.channel == 0x7E0], "the message is recorded"


def test_silence_and_missing_flow_control(bench):
    _, link, ecu = bench
    ecu.answer = lambda _: []
    started = time.monotonic()
    assert link.request(b"\x22\xf1\x8c", timeout=0.2) is None
    ecu.stack.stop()
    assert link.send(bytes(50), timeout=0.3) is False
    assert time.monotonic() - started < 2.5
    ecu.stack.start()
    ecu.answer = lambda request: [(0, request)]
    assert link.request(bytes(50), timeout=5) == bytes(50), "usable again afterwards"


def test_a_lost_bus_is_heard_by_who_waits(bench):
    bus, link, _ = bench
    started = time.monotonic()
    threading.Timer(0.1, bus.close).start()
    with pytest.raises(LinkLost):
        link.receive(timeout=10)
    assert time.monotonic() - started < 1
    with pytest.raises(LinkLost):
        link.send(b"\x3e\x00", timeout=1)


def test_hostile_frames_are_noted_and_survived(bench):
    _, link, ecu = bench
    hostile = [
        b"",
        b"\x00",
        b"\xff" * 8,
        b"\x0f1",
        b"\x21abc",
        b"\x10",
        b"\x10\x01",
        b"\x10\x00\xff\xff\xff\xff",
        b"\x30",
    ]
    for data in [*hostile, *([b"\xff" * 8] * 500)]:
        ecu.bus.send(can.Message(arbitration_id=0x7E8, data=data, is_extended_id=False))
    assert link.receive(timeout=0.3) is None
    assert link.framing_errors
    assert link.request(b"\x3e\x00", timeout=2) == b"\x3e\x00"


def test_frames_can_be_sent_by_hand(bench):
    bus, _, ecu = bench
    seen: list[bytes] = []
    ecu.answer = lambda request: seen.append(request) or []
    bus.send(CanFrame(0x7E0, b"\x02\x3e\x00"))
    deadline = time.monotonic() + 2
    while not seen and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    assert seen == [b"\x3e\x00"]


# UDS


def test_replies_of_every_kind(bench):
    _, link, ecu = bench
    client = UdsClient(link)
    replies = {
        b"\x22\xf1\x8c": [(0.0, b"\x62\xf1\x8cVP1-000417-long-enough-for-frames")],
        b"\x27\x01": [(0, b"\x7f\x27\x7f")],
        b"\x11\x01": [(0, b"\x7f\x11\x78"), (0.3, b"\x7f\x11\x78"), (0.3, b"\x51\x01")],
        b"\x10\x03": [(0, b"\x50\x01")],
        b"\x3e\x80": [],
        b"\x19\x02": [(0, b"\x7f\x19")],
    }
    ecu.answer = lambda request: replies[request]
    assert client.request(b"\x22\xf1\x8c", timeout=2) == PositiveReply(
        0x22, b"\xf1\x8cVP1-000417-long-enough-for-frames"
    )
    refused = client.request(b"\x27\x01", timeout=2)
    assert isinstance(refused, NegativeReply)
    assert (refused.code, refused.name) == (0x7F, "ServiceNotSupportedInActiveSession")
    assert client.request(b"\x11\x01", timeout=3) == PositiveReply(0x11, b"\x01")
    assert client.request(b"\x10\x03", timeout=2) == UnintelligibleReply(b"\x50\x01"), "another session than asked for"
    assert client.request(b"\x3e\x80", timeout=0.1) is None
    assert client.request(b"\x19\x02", timeout=2) == UnintelligibleReply(b"\x7f\x19")


def test_response_pending_without_end_meets_the_deadline(bench):
    _, link, ecu = bench
    ecu.answer = lambda _: [(0.1, b"\x7f\x22\x78")] * 8
    started = time.monotonic()
    assert UdsClient(link).request(b"\x22\x01\x00", timeout=0.5) is None
    assert time.monotonic() - started < 0.8


def test_a_late_reply_is_not_taken_for_the_next_one(bench):
    _, link, ecu = bench
    ecu.answer = lambda request: [(0.3 if request[0] == 0x22 else 0.2, bytes([request[0] + 0x40]) + request[1:])]
    client = UdsClient(link)
    assert client.request(b"\x22\x01\x00", timeout=0.1) is None
    assert client.request(b"\x3e\x00", timeout=2) == PositiveReply(0x3E, b"\x00")
    assert client.request(b"\x22\x01\x01", timeout=2) == PositiveReply(0x22, b"\x01\x01")


@given(st.binary(min_size=1, max_size=8), st.binary(max_size=12))
def test_only_an_answer_to_the_request_is_one(request, reply):
    decoded = decode_reply(request, reply)
    if isinstance(decoded, NegativeReply):
        assert reply[:2] == bytes([0x7F, request[0]])
    elif isinstance(decoded, PositiveReply):
        assert reply[0] == (request[0] + 0x40) & 0xFF
    else:
        assert decoded is None
    assert decode_reply(request, request) is None or request[0] == 0x7F, "an echo is no answer"


def test_names():
    assert service_name(0x27) == "SecurityAccess"
    assert service_name(0xEE) == "0xEE"
    assert code_name(0x35) == "InvalidKey"
    assert code_name(0xF3) == "0xF3"
