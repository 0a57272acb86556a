"""Devices that are plain processes: readiness, restarts, unasked ends."""

from __future__ import annotations

import select
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.control.base import Capability, Deadline, EventKind
from harness.control.process import ProcessControl
from harness.errors import ControlFault, UsageError

_DEVICE = """
import os, socket, sys
run_dir, address = sys.argv[1:]
server = socket.socket(socket.AF_UNIX)
server.bind(os.path.join(run_dir, "console"))
server.listen()
network = socket.create_server((address, 7))
print("ready", flush=True)
count = 0
while True:
    peer, _ = server.accept()
    word = peer.recv(10)
    if word == b"die":
        sys.exit(3)
    count += 1
    peer.sendall(b"%d" % count)
"""

Start = Callable[..., ProcessControl]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    made: list[ProcessControl] = []

    def make(script: str = _DEVICE, **options: object) -> ProcessControl:
        argv = [sys.executable, "-c", script, "{run_dir}", "{address}"]
        made.append(ProcessControl(argv, log=tmp_path / "device.log", **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for each in made:
        each.close()


def say(control: ProcessControl, word: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(5)
        link.connect(str(control.run_dir / "console"))
        link.sendall(word)
        return link.recv(10)


def test_power_and_restore(start: Start) -> None:
    connected: list[bytes] = []
    control = start()
    control.before_run = lambda: connected.append(say(control, b"hello"))
    assert not control.alive()
    control.power_on()
    control.power_on()
    assert control.alive()
    assert say(control, b"again") == b"2"
    report = control.restore()
    assert report.method == "restart"
    assert report.seconds < 5
    assert connected == [b"1", b"1"]
    control.reset()
    assert say(control, b"fresh") == b"2"
    control.cut()
    assert not control.alive()
    assert all(event.asked for event in control.events)
    assert Capability.RESTORE in control.capabilities
    (link,) = control.holder.sockets(1)
    with link, pytest.raises(ConnectionRefusedError):
        link.connect((control.address, 7))


def test_the_storage_is_what_was_written(start: Start) -> None:
    control = start()
    control.power_on()
    (control.data_dir / "two").write_bytes(b"second")
    (control.data_dir / "one").write_bytes(b"first ")
    with pytest.raises(ControlFault, match="without power"):
        control.storage()
    control.cut()
    assert control.storage().read_bytes() == b"first second"
    control.restore()
    control.cut()
    assert control.storage().read_bytes() == b""


_WITH_AGENT = """
import os, socket, sys
agent = socket.socket(socket.AF_UNIX)
agent.bind(os.path.join(sys.argv[1], "agent.sock"))
agent.listen()
print("ready", flush=True)
while True:
    peer, _ = agent.accept()
    peer.sendall(b"ok\\n" if peer.recv(100) == b"break console\\n" else b"error\\n")
"""


def test_a_break_goes_through_the_agent(start: Start) -> None:
    control = start(_WITH_AGENT)
    control.power_on()
    assert Capability.BREAK in control.capabilities
    control.send_break("console")
    with pytest.raises(ControlFault):
        control.send_break("another")
    without = start()
    without.power_on()
    assert Capability.BREAK not in without.capabilities


def test_an_unasked_end_is_an_event(start: Start) -> None:
    control = start()
    control.power_on()
    assert say(control, b"die") == b""
    deadline = Deadline(5)
    while control.alive() and deadline.left():
        select.select([], [], [], 0.01)
    (event,) = control.events
    assert (event.kind, event.asked, event.detail) == (EventKind.DIED, False, "exit code 3")
    assert not control.alive()
    control.power_on()
    assert control.alive()
    assert len(control.events) == 1


@pytest.mark.parametrize(
    ("script", "ready_s", "message"),
    [
        ("print('broken'); raise SystemExit(1)", 20, "ended before it was ready: broken"),
        ("import time; print('not yet', flush=True); time.sleep(60)", 2, "did not print 'ready' within 2 s: not yet"),
        ("print('already', flush=True); print('ready', end='', flush=True); input()", 20, "ended before"),
    ],
)
def test_never_ready_is_a_control_fault(start: Start, script: str, ready_s: float, message: str) -> None:
    control = start(script, ready_s=ready_s)
    with pytest.raises(ControlFault, match=message):
        control.power_on()
    assert not control.alive()


def test_a_missing_program_is_named_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no-such-sham"):
        ProcessControl(["no-such-sham"], log=tmp_path / "log")


def test_close_removes_the_run_directory(start: Start) -> None:
    control = start()
    control.power_on()
    run_dir = control.run_dir
    control.close()
    assert not run_dir.parent.exists()
    assert not control.alive()
