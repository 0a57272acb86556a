"""Real peers for the links: sockets, servers in threads, processes that can be killed."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import can
import pytest

from harness.capture import CaptureFile, Frame, Tap, read_capture
from harness.links.can import CanLink, open_can

VIRTUAL_BUSES = (f"bus{number}" for number in count())

sys.path.insert(0, str(Path(__file__).parent))


@dataclass
class Recording:
    """A capture file under test and what is in it."""

    tap: CaptureFile
    path: Path

    def frames(self) -> list[Frame]:
        return list(read_capture(self.path))

    def sent(self) -> bytes:
        return b"".join(frame.data for frame in self.frames() if frame.direction == 0)

    def received(self) -> bytes:
        return b"".join(frame.data for frame in self.frames() if frame.direction == 1)


@pytest.fixture
def recording(tmp_path: Path) -> Iterator[Recording]:
    path = tmp_path / "link.cap"
    tap = CaptureFile(path)
    yield Recording(tap, path)
    tap.close()


@dataclass(frozen=True)
class Bus:
    """A CAN bus on which links and peers meet."""

    interface: str
    channel: str

    def link(self, tap: Tap, **options: object) -> CanLink:
        """A link of ours, for CAN FD too."""
        return open_can(interface=self.interface, channel=self.channel, name="can", tap=tap, fd=True, extra=options)

    def peer(self) -> can.BusABC:
        """A node by python-can, for CAN FD too."""
        return can.Bus(interface=self.interface, channel=self.channel, fd=True)


@pytest.fixture
def bus(request: pytest.FixtureRequest) -> Bus:
    """The bus that `--can` names, by default one of python-can's virtual ones for each test."""
    given = request.config.getoption("--can")
    if given is None:
        return Bus("virtual", next(VIRTUAL_BUSES))
    interface, _, channel = given.partition(":")
    return Bus(interface, channel)


@pytest.fixture(autouse=True)
def no_reader_left() -> Iterator[None]:
    """Every test closes its links: no reader thread may outlive it."""
    yield
    deadline = time.monotonic() + 2
    while left := [thread.name for thread in threading.enumerate() if thread.name.startswith("link ")]:
        assert time.monotonic() < deadline, f"left behind: {left}"
        threading.Event().wait(0.02)


Handler = Callable[[socket.socket], None]


@pytest.fixture
def serve() -> Iterator[Callable[[Handler], int]]:
    """Serve each connection to a loopback port with a function in a thread of its own."""
    listeners: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def start(handler: Handler) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def one(connection: socket.socket) -> None:
            with connection, contextlib.suppress(OSError):
                connection.settimeout(20)
                handler(connection)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    thread = threading.Thread(target=one, args=(connection,), daemon=True)
                    threads.append(thread)
                    thread.start()

        threading.Thread(target=accept, daemon=True).start()
        return int(listener.getsockname()[1])

    yield start
    for listener in listeners:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()


@pytest.fixture
def run_python(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Run a script as a process whose first line of output says that it is ready."""
    running: list[subprocess.Popen[str]] = []

    def start(script: str, *arguments: str) -> subprocess.Popen[str]:
        path = tmp_path / f"peer{len(running)}.py"
        path.write_text(script)
        process = subprocess.Popen(
            [sys.executable, str(path), *arguments], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
        )
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.wait(5)
        for pipe in (process.stdout, process.stdin):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
