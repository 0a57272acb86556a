"""The holder: sockets, processes and captures in a private network that leaves nothing behind."""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.control.base import Deadline
from harness.control.holder import Holder, PrivateNetwork
from harness.errors import ControlFault

_ECHO = """
import socket
server = socket.create_server(("192.0.2.10", 7))
print("ready", flush=True)
while True:
    peer, _ = server.accept()
    peer.sendall(peer.recv(100))
    peer.close()
"""


@pytest.fixture
def holder() -> Iterator[Holder]:
    with Holder(PrivateNetwork.loopback()) as held:
        yield held


def eventually(condition: Callable[[], bool], *, timeout: float = 5.0) -> bool:
    """Poll `condition`; for states of the kernel that nothing announces."""
    deadline = Deadline(timeout)
    while not condition():
        if not deadline.left():
            return False
        select.select([], [], [], 0.01)
    return True


def gone(pid: int) -> bool:
    """True when no process has this pid (a zombie counts as gone)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def namespaces() -> set[str]:
    """The network namespaces that any process of this computer is in."""
    found = set()
    for each in Path("/proc").glob("[0-9]*/ns/net"):
        try:
            found.add(str(each.readlink()))
        except OSError:
            continue
    return found


def start_echo(holder: Holder, folder: Path) -> None:
    reading, writing = os.pipe()
    holder.run([sys.executable, "-c", _ECHO], log=folder / "log", stdout=writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as output:
        assert output.readline() == b"ready\n"


def exchange(holder: Holder, payload: bytes) -> bytes:
    (link,) = holder.sockets(1, socket.AF_INET, socket.SOCK_STREAM)
    with link:
        link.settimeout(5)
        link.connect(("192.0.2.10", 7))
        link.sendall(payload)
        return link.recv(100)


def test_sockets_live_in_the_private_network(holder: Holder, tmp_path: Path) -> None:
    start_echo(holder, tmp_path)
    assert exchange(holder, b"hello") == b"hello"
    with socket.socket() as outside:
        outside.settimeout(0.3)
        with pytest.raises(OSError):
            outside.connect(("192.0.2.10", 7))


def test_every_family_and_any_count(holder: Holder) -> None:
    many = holder.sockets(450, socket.AF_INET6, socket.SOCK_DGRAM)
    assert len({each.fileno() for each in many}) == 450
    assert many[0].family == socket.AF_INET6
    assert many[0].type == socket.SOCK_DGRAM
    raw = holder.sockets(1, socket.AF_PACKET, socket.SOCK_RAW, 0)
    assert not any(os.get_inheritable(each.fileno()) for each in [*many, *raw])
    for each in [*many, *raw]:
        each.close()
    with pytest.raises(ControlFault):
        holder.sockets(1, 250, socket.SOCK_STREAM)
    assert holder.sockets(1)[0].fileno() > 0, "a refused request leaves the holder in step"


def test_two_holders_with_the_same_address(holder: Holder, tmp_path: Path) -> None:
    start_echo(holder, tmp_path)
    with Holder(PrivateNetwork.loopback()) as second:
        with pytest.raises(ConnectionRefusedError):
            exchange(second, b"nobody listens here")
        start_echo(second, tmp_path)
        assert exchange(second, b"two") == b"two"
        assert exchange(holder, b"one") == b"one"


def test_process_gets_only_what_it_is_given(holder: Holder, tmp_path: Path) -> None:
    log = tmp_path / "log"
    reading, writing = os.pipe()
    script = (
        "import os; print(sorted(map(int, os.listdir('/proc/self/fd')))); print(sorted(os.environ)); os.write(3, b'x')"
    )
    process = holder.run([sys.executable, "-c", script], log=log, descriptors=[writing], env={"GIVEN": "1"})
    os.close(writing)
    assert process.wait(5) == 0
    assert os.read(reading, 10) == b"x"
    os.close(reading)
    descriptors, environment = log.read_text().splitlines()
    assert descriptors == "[0, 1, 2, 3, 4]", "the last one is that of the listing itself"
    assert "GIVEN" in environment
    assert "HOME" not in environment


def test_exit_kill_and_missing_program(holder: Holder, tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert holder.run(["sh", "-c", "exit 7"], log=log).wait(5) == 7
    sleeper = holder.run(["sleep", "60"], log=log)
    assert sleeper.alive()
    with pytest.raises(ControlFault, match="did not end"):
        sleeper.wait(0.05)
    assert sleeper.kill() == -signal.SIGKILL
    assert sleeper.kill() == -signal.SIGKILL
    assert not sleeper.alive()
    with pytest.raises(ControlFault, match="qemu-system-arm") as caught:
        holder.run(["/nowhere/qemu-system-aarch64"], log=log)
    assert "apt-get install" in str(caught.value)


def test_helpers_of_a_killed_device_die_with_it(holder: Holder, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    process = holder.run(["sh", "-c", "sleep 60 & sleep 60 & echo ready; wait"], log=tmp_path / "log", stdout=writing)
    os.close(writing)
    with os.fdopen(reading, "rb", buffering=0) as output:
        assert output.readline() == b"ready\n"
        process.kill()
        assert select.select([output], [], [], 5)[0], "somebody still holds the output open"
        assert output.read() == b""


def test_capture_is_readable_and_complete(holder: Holder, tmp_path: Path) -> None:
    start_echo(holder, tmp_path)
    file = tmp_path / "net.pcapng"
    holder.capture_on(file)
    with pytest.raises(ControlFault, match="already"):
        holder.capture_on(tmp_path / "other.pcapng")
    before = time.time_ns()
    exchange(holder, b"needle in the capture")
    report = holder.capture_off()
    blocks = list(read_pcapng(file))
    frames = [body for kind, body in blocks if kind == 6]
    assert [kind for kind, _ in blocks[:2]] == [0x0A0D0D0A, 1]
    assert blocks[-1][0] == 5
    assert len(frames) == report.frames
    assert report.dropped == 0
    carrying = [body for body in frames if b"needle in the capture" in body]
    assert len(carrying) == 2, "there and back, each once"
    _, high, low, length, _ = struct.unpack_from("=5I", carrying[0])
    assert before <= (high << 32 | low) <= time.time_ns()
    assert carrying[0][20 + 12 : 20 + 14] == b"\x08\x00", "an Ethernet frame with IPv4"
    assert length < 200
    with pytest.raises(ControlFault, match="no capture"):
        holder.capture_off()
    with pytest.raises(FileExistsError):
        holder.capture_on(file)


def read_pcapng(file: Path) -> Iterator[tuple[int, bytes]]:
    """Blocks of a capture as the format's specification has them: type, length, body, length again."""
    data = file.read_bytes()
    position = 0
    while position < len(data):
        kind, length = struct.unpack_from("=II", data, position)
        assert length % 4 == 0
        assert struct.unpack_from("=I", data, position + length - 4) == (length,)
        yield kind, data[position + 8 : position + length - 4]
        position += length


def test_a_dead_holder_is_a_control_fault(holder: Holder) -> None:
    os.kill(holder.pid, signal.SIGKILL)
    assert eventually(lambda: not holder.alive())
    with pytest.raises(ControlFault, match="is gone"):
        holder.sockets(1)


@pytest.mark.parametrize("end", ["close", "kill holder"])
def test_nothing_is_left(tmp_path: Path, end: str) -> None:
    before = namespaces()
    held = Holder()
    device = held.run(["sh", "-c", "setsid sleep 60 & exec sleep 60"], log=tmp_path / "log")
    assert eventually(lambda: namespaces() - before != set())
    made = namespaces() - before
    if end == "close":
        held.close()
        held.close()
    else:
        os.kill(held.pid, signal.SIGKILL)
    assert eventually(lambda: gone(device.pid) and not made & namespaces())
    held.close()


_VICTIM = """
import os, sys
from pathlib import Path
from harness.control.holder import Holder
held = Holder()
device = held.run(["sh", "-c", "setsid sleep 60 & exec sleep 60"], log=Path(sys.argv[1]))
held.capture_on(Path(sys.argv[1] + ".pcapng"))
if os.fork() == 0:
    os.execvp("sleep", ["sleep", "60"]) if sys.argv[2] == "exec" else os.read(0, 1)
print(held.pid, device.pid, flush=True)
os.read(0, 1)
"""


@pytest.mark.parametrize("child", ["exec", "fork"])
def test_killing_the_harness_leaves_nothing(tmp_path: Path, child: str) -> None:
    before = namespaces()
    root = Path(__file__).parents[2]
    victim = subprocess.Popen(
        [sys.executable, "-c", _VICTIM, str(tmp_path / "log"), child],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(root)},
        start_new_session=True,
    )
    with victim:
        assert victim.stdout is not None
        holder_pid, device_pid = map(int, victim.stdout.readline().split())
        made = namespaces() - before
        assert made
        assert not gone(device_pid)
        victim.kill()
        victim.wait(5)
        assert eventually(lambda: gone(holder_pid) and gone(device_pid))
        assert eventually(lambda: not made & namespaces())
        os.killpg(victim.pid, signal.SIGKILL)  # the victim's own forked child


def test_as_an_ordinary_user() -> None:
    if os.getuid() != 0:
        pytest.skip("the other tests already run as an ordinary user")
    script = (
        "import os, sys; os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "from harness.control.holder import Holder, PrivateNetwork\n"
        "from harness.errors import ControlFault\n"
        "with Holder(PrivateNetwork.loopback()) as held: print(len(held.sockets(2)))\n"
        "try:\n    Holder().close(); print('tap')\nexcept ControlFault as fault: print(fault.hint)\n"
    )
    root = Path(__file__).parents[2]
    others_can = all(each.stat().st_mode & 1 for each in Path(sys.executable).resolve().parents)
    done = subprocess.run(
        [sys.executable if others_can else "/usr/bin/python3", "-c", script],
        env={**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=20,
        cwd="/",
    )
    assert done.returncode == 0, done.stderr
    count, tap = done.stdout.splitlines()
    assert count == "2"
    assert tap == "tap" or "/dev/net/tun" in tap
