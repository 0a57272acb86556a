"""Modbus against pymodbus as an independent peer, and against peers that lie."""

# ruff: noqa: ARG001, ARG002, ARG005 - peers take what their protocol or library hands them

from __future__ import annotations

import os
import socket
import struct
import threading
import time
import tty
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import LinkLost
from harness.links.dialer import HostDialer
from harness.links.modbus import (
    Closed,
    Garbled,
    ModbusLink,
    ModbusReply,
    NoConnection,
    crc16,
    decode_registers,
    open_modbus_rtu,
    open_modbus_tcp,
    read_registers,
    write_register,
    write_registers,
)
from harness.links.modbus_pdu import mismatch
from harness.links.serial import open_serial

PYMODBUS = """
import asyncio, sys
from pymodbus.datastore import ModbusDeviceContext, ModbusSequentialDataBlock, ModbusServerContext
from pymodbus.server import ModbusTcpServer
async def main():
    block = ModbusSequentialDataBlock(1, [10, 20, 30, 40])
    context = ModbusServerContext(devices=ModbusDeviceContext(hr=block, ir=block), single=True)
    server = ModbusTcpServer(context, address=("127.0.0.1", 0))
    task = asyncio.create_task(server.serve_forever())
    while server.transport is None:
        await asyncio.sleep(0.01)
    print(server.transport.sockets[0].getsockname()[1], flush=True)
    await task
asyncio.run(main())
"""


def tcp(recording, port: int) -> ModbusLink:
    return open_modbus_tcp(HostDialer(), "127.0.0.1", port, unit=1, name="modbus", tap=recording.tap)


def test_an_independent_server_understands_us(run_python, recording):
    process = run_python(PYMODBUS)
    port = int(process.stdout.readline())
    link = tcp(recording, port)
    reply = link.request(read_registers(3, 0, 4), timeout=2)
    assert isinstance(reply, ModbusReply)
    assert decode_registers(reply.pdu) == [10, 20, 30, 40]
    assert reply.exception is None
    assert isinstance(link.request(write_register(1, 777), timeout=2), ModbusReply)
    assert isinstance(link.request(write_registers(2, [1, 65535]), timeout=2), ModbusReply)
    reply = link.request(read_registers(3, 0, 4), timeout=2)
    assert isinstance(reply, ModbusReply)
    assert decode_registers(reply.pdu) == [10, 777, 1, 65535]
    refused = link.request(read_registers(3, 100, 1), timeout=2)
    assert isinstance(refused, ModbusReply)
    assert (refused.exception, refused.function) == (2, 3)
    # pymodbus answers an unknown function with function 0x80, which answers nothing.
    assert isinstance(link.request(b"\x63", timeout=2), Garbled)
    process.kill()
    process.wait(5)
    assert isinstance(link.request(read_registers(3, 0, 1), timeout=1), (NoConnection, Closed))
    assert isinstance(link.request(read_registers(3, 0, 1), timeout=1), NoConnection)
    assert {frame.channel for frame in recording.frames()} == {1}
    link.close()
    link.close()
    with pytest.raises(LinkLost):
        link.request(read_registers(3, 0, 1), timeout=1)


Script = Callable[[int, int, bytes], list[bytes]]


def frame(transaction: int, unit: int, pdu: bytes, *, protocol: int = 0) -> bytes:
    return struct.pack(">HHHB", transaction, protocol, len(pdu) + 1, unit) + pdu


@pytest.fixture
def device(serve, recording) -> Iterator[Callable[[Script], ModbusLink]]:
    links: list[ModbusLink] = []

    def start(script: Script) -> ModbusLink:
        def handle(connection: socket.socket) -> None:
            while head := connection.recv(7, socket.MSG_WAITALL):
                transaction, _, length, unit = struct.unpack(">HHHB", head)
                for piece in script(transaction, unit, connection.recv(length - 1, socket.MSG_WAITALL)):
                    if piece == b"close":
                        return
                    if piece.startswith(b"wait"):
                        threading.Event().wait(float(piece[4:]))
                    else:
                        connection.sendall(piece)

        links.append(tcp(recording, serve(handle)))
        return links[-1]

    yield start
    for link in links:
        link.close()


READ = read_registers(3, 0, 1)
GOOD = b"\x03\x02\x12\x34"


@pytest.mark.parametrize(
    ("reason", "script"),
    [
        ("transaction", lambda t, u, p: [frame(t + 7, u, GOOD)]),
        ("unit 9", lambda t, u, p: [frame(t, 9, GOOD)]),
        ("function 4", lambda t, u, p: [frame(t, u, b"\x04\x02\x12\x34")]),
        ("protocol 5", lambda t, u, p: [frame(t, u, GOOD, protocol=5)]),
        ("length 65535", lambda t, u, p: [b"\xff" * 300]),
        ("bytes answer", lambda t, u, p: [frame(t, u, b"\x03\x04\0\0\0\0")]),
        ("bytes answer", lambda t, u, p: [frame(t, u, p)]),
        ("two bytes", lambda t, u, p: [frame(t, u, b"\x83\x02\x00")]),
        ("breaks off", lambda t, u, p: [frame(t, u, GOOD)[:-1]]),
    ],
)
def test_a_lie_is_garbled_and_keeps_its_bytes(device, reason, script):
    outcome = device(script).request(READ, timeout=0.3)
    assert isinstance(outcome, Garbled)
    assert reason in outcome.reason
    assert outcome.raw


def test_who_answered_for_another_does_not_shift_the_next(device):
    foreign = iter([True, False])

    def script(transaction: int, unit: int, pdu: bytes) -> list[bytes]:
        own = frame(transaction, unit, GOOD)
        return [frame(transaction + 7, unit, GOOD), own] if next(foreign) else [own]

    link = device(script)
    assert isinstance(link.request(READ, timeout=1), Garbled)
    assert isinstance(link.request(READ, timeout=1), ModbusReply), "the answer that came behind is passed over"


def test_a_write_must_be_echoed(device):
    link = device(lambda t, u, p: [frame(t, u, p[:3] + b"\x00\x09")])
    assert isinstance(link.request(write_register(0, 5), timeout=0.3), Garbled)
    assert isinstance(link.request(write_register(0, 9), timeout=0.3), ModbusReply)


def test_an_answer_in_pieces_is_whole(device):
    link = device(lambda t, u, p: [bytes([byte]) for byte in frame(t, u, GOOD)])
    assert isinstance(link.request(READ, timeout=1), ModbusReply)


def test_silence_then_a_late_answer_does_not_shift_the_next(device):
    replies = iter([[b"wait0.3"], []])

    def script(transaction: int, unit: int, pdu: bytes) -> list[bytes]:
        return [*next(replies), frame(transaction, unit, b"\x03\x02" + transaction.to_bytes(2, "big"))]

    link = device(script)
    assert link.request(READ, timeout=0.1) is None
    reply = link.request(READ, timeout=2)
    assert isinstance(reply, ModbusReply)
    assert decode_registers(reply.pdu) == [2], "the answer to the second transaction"


def test_a_device_that_hangs_up_is_told_from_one_that_cannot_be_reached(device):
    link = device(lambda t, u, p: [b"ab", b"close"] if p[0] == 6 else [frame(t, u, GOOD)])
    assert link.request(write_register(0, 1), timeout=2) == Closed(b"ab")
    assert isinstance(link.request(READ, timeout=2), ModbusReply), "connected anew"
    assert link.raw(frame(1, 1, write_register(0, 1)), timeout=2) == Closed(b"ab")
    assert link.reconnect() is None
    assert isinstance(link.request(READ, timeout=2), ModbusReply)


def test_raw_bytes_go_out_as_they_are(device, recording):
    link = device(lambda t, u, p: [b"raw", p] if p else [])
    assert link.raw(frame(0xFFFF, 255, b"\x99"), timeout=1) == b"raw\x99"
    assert recording.sent() == frame(0xFFFF, 255, b"\x99")
    assert link.raw(frame(1, 1, b""), timeout=0.2) is None


def test_a_late_answer_to_raw_bytes_is_not_taken_for_one_to_a_request(device):
    calls = iter([[b"wait0.3"], []])
    link = device(lambda t, u, p: [*next(calls), frame(t, u, b"\x03\x02" + t.to_bytes(2, "big"))])
    assert link.raw(frame(1, 1, READ), timeout=0.1) is None
    reply = link.request(READ, timeout=2)
    assert isinstance(reply, ModbusReply)
    assert decode_registers(reply.pdu) != [1]


def test_nobody_there_is_no_connection(recording):
    link = tcp(recording, 1)
    assert isinstance(link.request(READ, timeout=1), NoConnection)
    assert isinstance(link.reconnect(timeout=1), NoConnection)
    link.close()


# RTU


@pytest.fixture
def line(recording) -> Iterator[Callable[[Callable[[bytes], list[bytes]]], ModbusLink]]:
    master, slave = os.openpty()
    tty.setraw(slave)
    stop = threading.Event()
    stream = open_serial(os.ttyname(slave), baudrate=19200, parity="E", name="rtu", tap=recording.tap)
    os.close(slave)
    os.set_blocking(master, False)
    threads: list[threading.Thread] = []

    def start(script: Callable[[bytes], list[bytes]], *, baudrate: int = 19200) -> ModbusLink:
        def run() -> None:
            while not stop.wait(0.01):
                try:
                    request = os.read(master, 300)
                except BlockingIOError:
                    continue
                for piece in script(request):
                    if piece.startswith(b"wait"):
                        stop.wait(float(piece[4:]))
                    else:
                        os.write(master, piece)

        threads.append(threading.Thread(target=run, daemon=True))
        threads[-1].start()
        return open_modbus_rtu(stream, unit=1, baudrate=baudrate)

    yield start
    stop.set()
    for thread in threads:
        thread.join()
    stream.close()
    os.close(master)


def rtu(pdu: bytes, unit: int = 1) -> bytes:
    body = bytes([unit]) + pdu
    return body + crc16(body)


def test_rtu_answers_and_refusals(line, recording):
    link = line(lambda request: [rtu(GOOD)[:3], b"wait0.02", rtu(GOOD)[3:]] if request[1] == 3 else [rtu(b"\x86\x02")])
    reply = link.request(READ, timeout=1)
    assert isinstance(reply, ModbusReply)
    assert decode_registers(reply.pdu) == [0x1234]
    refused = link.request(write_register(3, 1), timeout=1)
    assert isinstance(refused, ModbusReply)
    assert refused.exception == 2
    assert recording.sent().startswith(rtu(READ))
    assert crc16(bytes.fromhex("010400000001")) == bytes.fromhex("31ca"), "the example everybody prints"


@pytest.mark.parametrize(
    ("reason", "answer"),
    [
        ("checksum", [rtu(GOOD)[:-1] + b"\x00"]),
        ("checksum", [b"\xff" * 40]),
        ("too short", [b"\x01"]),
        ("unit 2", [rtu(GOOD, unit=2)]),
        ("function 4", [rtu(b"\x04\x02\x12\x34")]),
        ("bytes answer", [rtu(READ)]),
    ],
)
def test_rtu_lies_are_garbled(line, reason, answer):
    outcome = line(lambda _: answer).request(READ, timeout=0.4)
    assert isinstance(outcome, Garbled)
    assert reason in outcome.reason


def test_rtu_silence_flood_and_late_answers(line):
    answers = iter([[], [b"\xff" * 200] * 5, [b"wait0.4", rtu(GOOD)], [b"wait0.1", rtu(b"\x86\x02")]])
    link = line(lambda _: next(answers))
    assert link.request(READ, timeout=0.2) is None
    started = time.monotonic()
    assert isinstance(link.request(READ, timeout=0.5), Garbled)
    assert time.monotonic() - started < 1
    assert link.request(READ, timeout=0.1) is None
    refused = link.request(write_register(0, 1), timeout=2)
    assert isinstance(refused, ModbusReply)
    assert refused.exception == 2


def test_rtu_frames_do_not_run_together_on_the_wire(line):
    """At 300 Bd a request of 8 characters of 11 bits stands 293 ms on the line, and 128 ms of silence follow it."""
    link = line(lambda _: [], baudrate=300)
    started = time.monotonic()
    assert link.request(READ, timeout=0.01) is None
    assert time.monotonic() - started > 8 * 11 / 300, "the answer was awaited while the request was on its way"
    assert link.raw(b"\x01" * 8, timeout=0.01) is None
    assert time.monotonic() - started > (8 + 3.5 + 8) * 11 / 300


# The pure part


@given(st.lists(st.integers(0, 65535), min_size=1, max_size=125))
def test_registers_survive(values):
    size = 2 * len(values)
    pdu = bytes([3, size]) + struct.pack(f">{len(values)}H", *values)
    assert decode_registers(pdu) == values
    assert mismatch(read_registers(3, 0, len(values)), pdu) is None
    assert mismatch(write_registers(7, values), write_registers(7, values)[:5]) is None


@given(st.binary(max_size=20), st.binary(max_size=20))
def test_judging_never_fails(request, answer):
    reason = mismatch(request, answer)
    if reason is None and request and answer:
        assert answer[0] & 0x7F == request[0] & 0x7F
    if request[:1] in (b"\x03", b"\x04") and len(request) == 5:
        assert mismatch(request, request) is not None, "an echo is no answer to a read"


@pytest.mark.parametrize("pdu", [b"", b"\x03", b"\x03\x03abc", b"\x10\x00", b"\x83\x02"])
def test_no_register_answer(pdu):
    with pytest.raises(ValueError, match="no register answer"):
        decode_registers(pdu)
