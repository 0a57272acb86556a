"""XMODEM and YMODEM against lrzsz on a pseudo-terminal, and against peers that misbehave."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import shutil
import socket
import subprocess
import threading
import tty
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.links.line_files import file_block, file_of_block, receive_file, send_file
from harness.links.serial import open_serial
from harness.links.stream import StreamLink

DATA = bytes(range(256)) * 13 + b"\x1a\x1a end"
"""More than three blocks of 1K, no whole number of them; ends as XMODEM's filling does."""
CAN = b"\x18"

needs_lrzsz = pytest.mark.skipif(shutil.which("rx") is None, reason="needs lrzsz")


class Peer:
    """The other end of a pseudo-terminal, and the bench's stream on it."""

    def __init__(self, stream: StreamLink, master: int) -> None:
        self.stream = stream
        self.master = master
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []
        self._programs: list[subprocess.Popen[bytes]] = []

    def run(self, *command: str, cwd: Path) -> subprocess.Popen[bytes]:
        """Run a program behind the line: lrzsz sets up a terminal of its own as it sees fit, but no socket."""
        ours, its = socket.socketpair()
        program = subprocess.Popen(command, stdin=its, stdout=its, stderr=subprocess.DEVNULL, cwd=cwd)
        self._programs.append(program)
        its.close()

        def carry() -> None:
            with ours, contextlib.suppress(OSError):
                while not self._ended.is_set():
                    for ready in select.select([ours, self.master], [], [], 0.05)[0]:
                        if ready is ours:
                            data = ours.recv(4096)
                            if not data:
                                return
                            os.write(self.master, data)
                        else:
                            ours.sendall(os.read(self.master, 4096))

        self._threads.append(threading.Thread(target=carry))
        self._threads[-1].start()
        return program

    def act(self, answer: Callable[[bytes], bytes], *, first: bytes = b"", again: float = 0.05) -> None:
        """Say `first`, then what `answer` makes of what arrives, of nothing each `again` seconds."""
        os.write(self.master, first)

        def loop() -> None:
            os.set_blocking(self.master, False)
            while not self._ended.wait(again):
                heard = b""
                with contextlib.suppress(BlockingIOError, OSError):
                    heard = os.read(self.master, 65536)
                with contextlib.suppress(BlockingIOError, OSError):
                    os.write(self.master, answer(heard))

        self._threads.append(threading.Thread(target=loop))
        self._threads[-1].start()

    def close(self) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(5)
        for program in self._programs:
            program.kill()
            program.wait(5)


@pytest.fixture
def peer(recording) -> Iterator[Peer]:
    master, slave = pty.openpty()
    tty.setraw(slave)
    tty.setraw(master)
    stream = open_serial(os.ttyname(slave), baudrate=115200, name="link line", tap=recording.tap)
    made = Peer(stream, master)
    yield made
    made.close()
    stream.close()
    os.close(master)
    os.close(slave)


@needs_lrzsz
@pytest.mark.parametrize(
    ("by", "program"), [("xmodem", ["rx", "-c"]), ("xmodem-1k", ["rx", "-c"]), ("xmodem", ["rx"]), ("ymodem", ["rb"])]
)
@pytest.mark.parametrize("data", [DATA, b"", DATA[:1024]], ids=["odd", "empty", "whole"])
def test_lrzsz_receives_what_is_sent(peer: Peer, tmp_path: Path, by, program: list[str], data: bytes) -> None:
    named = [] if by == "ymodem" else ["bundle.bin"]
    other = peer.run(*program, *named, cwd=tmp_path)
    carried = send_file(peer.stream, data, since=0, by=by, name="bundle.bin", within=30)
    assert carried.failed is None
    other.wait(15)
    got = (tmp_path / "bundle.bin").read_bytes()
    if by == "ymodem":
        assert got == data
    else:
        assert got.rstrip(b"\x1a") == data.rstrip(b"\x1a")
        assert got.startswith(data)


@needs_lrzsz
@pytest.mark.parametrize(("by", "program"), [("xmodem", ["sx"]), ("xmodem-1k", ["sx", "-k"]), ("ymodem", ["sb"])])
@pytest.mark.parametrize("data", [DATA, b"x", DATA[:1024]], ids=["odd", "short", "whole"])
def test_what_lrzsz_sends_is_received(peer: Peer, tmp_path: Path, by, program: list[str], data: bytes) -> None:
    (tmp_path / "backup.bin").write_bytes(data)
    peer.run(*program, "backup.bin", cwd=tmp_path)
    carried = receive_file(peer.stream, since=0, by=by, most=len(DATA), within=30)
    assert carried.failed is None
    if by == "ymodem":
        assert carried.data == data
    else:
        assert carried.data.startswith(data)
        assert set(carried.data[len(data) :]) <= {0x1A}
        assert len(carried.data) - len(data) < 1024


@needs_lrzsz
@pytest.mark.parametrize(("by", "program"), [("xmodem", ["sx"]), ("ymodem", ["sb"])])
def test_a_file_that_is_too_long_is_given_up(peer: Peer, tmp_path: Path, by, program: list[str]) -> None:
    (tmp_path / "backup.bin").write_bytes(DATA * 2)
    other = peer.run(*program, "backup.bin", cwd=tmp_path)
    carried = receive_file(peer.stream, since=0, by=by, most=len(DATA), within=30)
    assert carried.failed is not None
    assert carried.failed.kind == "broken"
    assert str(len(DATA)) in carried.failed.reason
    assert other.wait(15) != 0, "it was not told that the transfer is over"


def test_silence_ends_with_the_deadline(peer: Peer) -> None:
    sent = send_file(peer.stream, DATA, since=0, by="xmodem", within=0.5)
    assert sent.failed is not None
    assert sent.failed.kind == "silent"
    received = receive_file(peer.stream, since=peer.stream.mark(), by="ymodem", most=100, within=0.5)
    assert received.failed is not None
    assert received.failed.kind == "silent"


@pytest.mark.parametrize("by", ["xmodem", "xmodem-1k", "ymodem"])
@pytest.mark.parametrize(
    ("first", "answer"),
    [(b"C", lambda heard: b"\x15"), (b"\x15", lambda heard: b"?" if heard else b""), (b"", lambda heard: b"\xff" * 99)],
    ids=["NAK for ever", "no acknowledgement", "garbage"],
)
def test_a_receiver_that_never_has_enough_is_given_up(peer: Peer, by, first: bytes, answer) -> None:
    peer.act(answer, first=first)
    carried = send_file(peer.stream, DATA, since=0, by=by, within=4)
    assert carried.failed is not None
    assert carried.failed.kind == "broken"


@pytest.mark.parametrize("by", ["xmodem", "ymodem"])
@pytest.mark.parametrize(
    "answer",
    [
        lambda heard: os.urandom(4096),
        lambda heard: b"\x04",
        lambda heard: b"\x01\x01\xfe" + bytes(130),
        lambda heard: file_block(b"x", 5) if heard else b"",
        lambda heard: b"\x18" + b"a",
    ],
    ids=["random", "EOT", "the same block", "block 0", "a CAN now and then"],
)
def test_a_sender_without_end_or_sense_gives_no_file(peer: Peer, by, answer) -> None:
    peer.act(answer, first=answer(b""), again=0.005)
    carried = receive_file(peer.stream, since=0, by=by, most=4096, within=4)
    assert carried.failed is not None or carried.data == b""
    if by == "ymodem":
        assert carried.failed is not None


@pytest.mark.parametrize("by", ["xmodem", "ymodem"])
def test_a_cancelled_transfer_is_over_at_once(peer: Peer, recording, by) -> None:
    blocks = 0

    def after_the_first(heard: bytes) -> bytes:
        nonlocal blocks
        blocks += bool(heard)
        if blocks == 1:
            return b"\x06C" if by == "ymodem" else b"\x06"
        return CAN * 5 + b"no room\r\n> " if blocks and heard else b""

    peer.act(after_the_first, first=b"C")
    carried = send_file(peer.stream, DATA, since=0, by=by, name="x", within=30)
    assert carried.failed is not None
    assert carried.failed.kind == "cancelled"
    assert peer.stream.expect(b"no room", since=carried.end, timeout=5), "the words behind it are still to be read"
    assert CAN not in recording.sent()[-3:], "who has cancelled is at its prompt again"


def test_what_comes_behind_the_file_is_not_swallowed(peer: Peer) -> None:
    answered = False

    def receiver(heard: bytes) -> bytes:
        nonlocal answered
        if heard.endswith(b"\x04"):
            answered = True
            return b"\x06Checked, ok\r\n> "
        return b"\x06" if heard and not answered else b""

    peer.act(receiver, first=b"C")
    carried = send_file(peer.stream, b"short", since=0, by="xmodem", within=10)
    assert carried.failed is None
    found = peer.stream.expect(b"> ", since=carried.end, timeout=5)
    assert found is not None
    assert found.data == b"Checked, ok\r\n> "


def test_a_file_is_nothing_the_device_says(peer: Peer) -> None:
    seen: list[bool] = []
    peer.stream.subscribe(lambda data, at_ns: seen.append(peer.stream.carrying))
    peer.act(lambda heard: b"", first=b"C")
    send_file(peer.stream, b"", since=0, by="xmodem", within=0.5)
    os.write(peer.master, b"after")
    assert peer.stream.expect(b"after", since=0, timeout=5)
    assert seen[-1] is False
    assert not peer.stream.carrying


@given(name=st.binary(max_size=1100), size=st.none() | st.integers(0, 10**17))
def test_a_block_0_says_what_was_put_into_it(name: bytes, size: int | None) -> None:
    block = file_block(name, size)
    assert len(block) in (128 + 5, 1024 + 5)
    got, told = file_of_block(block[3:-2])
    kept = name.replace(b"\0", b"")
    assert kept.startswith(got)
    if len(kept) < 1000:
        assert (got, told) == (kept, size)


@given(payload=st.binary(max_size=1024))
def test_any_block_0_is_read(payload: bytes) -> None:
    name, size = file_of_block(payload)
    assert b"\0" not in name
    assert size is None or size >= 0
