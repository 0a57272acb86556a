"""Serial links: pseudo-terminals, unix and TCP servers, RFC 2217, and adapters that vanish."""

from __future__ import annotations

import contextlib
import os
import socket
import termios
import threading
import time
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest
import serial
from serial.rfc2217 import PortManager
from serial.rs485 import RS485Settings

from harness.errors import BenchFault, LinkLost, UsageError
from harness.links.serial import open_serial


@pytest.fixture
def terminal() -> Iterator[tuple[int, str]]:
    master, slave = os.openpty()
    tty.setraw(slave)
    path = os.ttyname(slave)
    os.close(slave)
    yield master, path
    with contextlib.suppress(OSError):
        os.close(master)


def test_bytes_cross_a_terminal_unchanged(terminal, recording):
    master, path = terminal
    link = open_serial(path, baudrate=115200, name="console", tap=recording.tap)
    everything = bytes(range(256))
    link.send(everything)
    got = b""
    while len(got) < 256:
        got += os.read(master, 256)
    assert got == everything
    os.write(master, everything)
    assert link.read_at_least(256, since=0, timeout=2) == everything
    assert recording.received() == everything
    assert link.can_break
    link.send_break(0.1)
    link.close()


def test_a_vanished_adapter_is_loss_and_no_silence(terminal, recording):
    master, path = terminal
    link = open_serial(path, baudrate=9600, name="console", tap=recording.tap)
    assert link.expect(b"x", since=0, timeout=0.1) is None
    started = time.monotonic()
    threading.Timer(0.1, os.close, (master,)).start()
    with pytest.raises(LinkLost):
        link.expect(b"x", since=0, timeout=10)
    assert time.monotonic() - started < 1.1
    link.close()


def test_an_absent_adapter_and_one_in_use_are_faults_of_the_bench(terminal, recording):
    with pytest.raises(BenchFault, match="plugged in"):
        open_serial("/dev/ttyNOTHERE", baudrate=9600, name="console", tap=recording.tap)
    _, path = terminal
    link = open_serial(path, baudrate=9600, name="console", tap=recording.tap)
    with pytest.raises(BenchFault, match="no other program"):
        open_serial(path, baudrate=9600, name="console 2", tap=recording.tap)
    link.close()
    open_serial(path, baudrate=9600, name="console 3", tap=recording.tap).close()


def test_what_an_adapter_cannot_do_is_a_fault_of_the_bench(terminal, recording):
    open_serial(terminal[1], baudrate=9600, name="console", tap=recording.tap).close()
    with pytest.raises(BenchFault, match="cannot set up"):  # a pseudo-terminal has no parity
        open_serial(terminal[1], baudrate=9600, parity="E", name="console", tap=recording.tap)


def test_who_sends_to_a_vanished_adapter_finds_it_lost(terminal, recording):
    master, path = terminal
    link = open_serial(path, baudrate=9600, name="console", tap=recording.tap)
    os.close(master)
    with pytest.raises(LinkLost):
        link.send(b"x")
    assert link.wait_lost(1) is not None
    assert link.lost_ns is not None
    link.close()


@pytest.mark.parametrize("url", ["ftp://x", "socket://", "spy:///dev/null"])
def test_a_wrong_address_is_the_users_mistake(url, recording):
    with pytest.raises(UsageError):
        open_serial(url, baudrate=9600, name="console", tap=recording.tap)


def test_a_wrong_setting_is_the_users_mistake(terminal, recording):
    with pytest.raises(UsageError, match="parity"):
        open_serial(terminal[1], baudrate=9600, parity="Q", name="console", tap=recording.tap)


def test_an_emulators_character_device(tmp_path: Path, recording):
    path = tmp_path / "console.sock"
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen(1)
    link = open_serial(f"unix:{path}", baudrate=115200, name="console", tap=recording.tap)
    peer, _ = server.accept()
    peer.sendall(b"login: ")
    assert link.expect(b"login: ", since=0, timeout=1) is not None
    assert not link.can_break
    with pytest.raises(UsageError):
        link.send_break()
    breaks: list[str] = []
    breaking = open_serial(
        f"unix:{path}", baudrate=115200, name="again", tap=recording.tap, send_break=lambda: breaks.append("break")
    )
    assert breaking.can_break
    breaking.send_break()
    assert breaks == ["break"]
    breaking.close()
    peer.close()
    server.close()
    with pytest.raises(LinkLost):
        link.expect(b"x", since=0, timeout=1)
    link.close()
    with pytest.raises(BenchFault):
        open_serial(f"unix:{path}", baudrate=115200, name="console", tap=recording.tap)


def test_a_raw_tcp_server(serve, recording):
    port = serve(lambda connection: connection.sendall(connection.recv(100).upper()))
    link = open_serial(f"socket://127.0.0.1:{port}", baudrate=9600, name="console", tap=recording.tap)
    link.send(b"hello")
    assert link.expect(b"HELLO", since=0, timeout=2) is not None
    link.close()


def test_rfc2217_carries_bytes_settings_breaks_and_its_loss(serve, recording):
    device = serial.serial_for_url("loop://", timeout=0)
    breaks: list[bool] = []
    hang_up = threading.Event()

    class Connection:
        def __init__(self, sock: socket.socket) -> None:
            self.sock = sock

        def write(self, data: bytes) -> None:
            self.sock.sendall(data)

    def handle(sock: socket.socket) -> None:
        manager = PortManager(device, Connection(sock))
        sock.settimeout(0.02)
        while not hang_up.is_set():
            try:
                data = sock.recv(1024)
            except TimeoutError:
                data = b""
            else:
                if not data:
                    return
            device.write(b"".join(manager.filter(data)))
            breaks.append(device.break_condition)
            back = device.read(1024)
            if back:
                sock.sendall(b"".join(manager.escape(back)))

    port = serve(handle)
    url = f"rfc2217://127.0.0.1:{port}"
    link = open_serial(url, baudrate=19200, parity="E", stopbits=2, name="remote", tap=recording.tap)
    assert (device.baudrate, device.parity, device.stopbits) == (19200, "E", 2)
    everything = bytes(range(256))  # 0xFF is doubled on the way
    link.send(everything)
    assert link.read_at_least(256, since=0, timeout=3) == everything
    assert link.can_break
    link.send_break(0.2)
    assert any(breaks)
    assert recording.received() == everything
    assert link.expect(b"x", since=256, timeout=0.2) is None
    started = time.monotonic()
    hang_up.set()
    with pytest.raises(LinkLost):
        link.expect(b"x", since=256, timeout=5)
    assert time.monotonic() - started < 1
    link.close()
    device.close()


class Lines:
    """A serial server whose port remembers every state of its control lines."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, bool]] = []
        self.port = serial.serial_for_url("loop://", timeout=0)

    def handle(self, sock: socket.socket) -> None:
        class Connection:
            def write(self, data: bytes) -> None:
                sock.sendall(data)

        manager = PortManager(self.port, Connection())
        before = {"dtr": self.port.dtr, "rts": self.port.rts}
        while data := sock.recv(1):
            for byte in manager.filter(data):
                self.port.write(byte)
            for line, state in before.items():
                now = getattr(self.port, line)
                if now != state:
                    before[line] = now
                    self.seen.append((line, now))


@pytest.mark.parametrize("resting", [True, False])
def test_a_control_line_is_pulsed_out_of_its_resting_state(serve, recording, resting):
    server = Lines()
    link = open_serial(
        f"rfc2217://127.0.0.1:{serve(server.handle)}",
        baudrate=9600,
        resting={"rts": resting},
        name="remote",
        tap=recording.tap,
    )
    assert server.port.rts is resting, "the line must rest before anything is pulsed"
    server.seen.clear()
    link.pulse("rts", 0.1, resting=resting)
    assert server.seen == [("rts", not resting), ("rts", resting)]
    link.close()


def test_a_line_that_is_not_there_is_a_fault_of_the_bench(terminal, serve, recording):
    link = open_serial(terminal[1], baudrate=9600, resting={"dtr": True}, name="console", tap=recording.tap)
    with pytest.raises(BenchFault, match="DTR cannot be switched"):
        link.pulse("dtr", 0.01)
    link.close()
    raw = open_serial(f"socket://127.0.0.1:{serve(lambda s: s.recv(1))}", baudrate=9600, name="raw", tap=recording.tap)
    with pytest.raises(UsageError, match="no DTR line"):
        raw.pulse("dtr", 0.01)
    raw.close()


def test_closing_a_port_with_a_reset_line_leaves_the_line(terminal, recording):
    def hangs_up() -> bool:
        watcher = os.open(terminal[1], os.O_RDWR | os.O_NOCTTY)
        try:
            return bool(termios.tcgetattr(watcher)[2] & termios.HUPCL)
        finally:
            os.close(watcher)

    link = open_serial(terminal[1], baudrate=9600, exclusive=False, name="console", tap=recording.tap)
    attributes = termios.tcgetattr(terminal[0])
    attributes[2] |= termios.HUPCL
    termios.tcsetattr(terminal[0], termios.TCSANOW, attributes)
    assert hangs_up()
    link.close()
    link = open_serial(
        terminal[1], baudrate=9600, exclusive=False, resting={"rts": True}, name="console", tap=recording.tap
    )
    assert not hangs_up()
    link.close()


def test_an_adapter_without_rs485_is_named(terminal, recording):
    with pytest.raises(UsageError, match="RS485"):
        open_serial(terminal[1], baudrate=9600, rs485_settings=RS485Settings(), name="bus", tap=recording.tap)
    with pytest.raises(UsageError, match="not over RFC 2217"):
        open_serial(
            "rfc2217://127.0.0.1:1", baudrate=9600, rs485_settings=RS485Settings(), name="bus", tap=recording.tap
        )
