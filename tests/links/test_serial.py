"""Serial links: pseudo-terminals, unix and TCP servers, RFC 2217, and adapters that vanish."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest
import serial
from serial.rfc2217 import PortManager

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
    link = open_serial(f"rfc2217://127.0.0.1:{port}", baudrate=19200, parity="E", name="remote", tap=recording.tap)
    assert (device.baudrate, device.parity) == (19200, "E")
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
