"""The harness's side of the holder: sockets in the device's private network, processes, capture.

One holder a worker process lives across many resets of its device. It satisfies the `Dialer` of
`harness.links` by `sockets`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import harness
from harness.control.base import Deadline
from harness.control.holder_process import MAX_MESSAGE, MAX_SOCKETS, receive
from harness.errors import ControlFault, UsageError

__all__ = ["CaptureReport", "DeviceProcess", "Holder", "PrivateNetwork"]

_START_S = 10.0
_REPLY_S = 10.0
_CLOSE_S = 5.0
_LONGEST_SCRATCH = 60  # the path of a unix socket has 107 characters at most
_BOOT = "import sys; sys.path.insert(0, sys.argv.pop(1)); from harness.control.holder_process import main; main()"


@dataclass(frozen=True, slots=True)
class PrivateNetwork:
    """The network that bench and device share, and nobody else.

    `interface` is `tap0` for an emulator, `lo` for a device that is a plain process. `bench` are the bench's
    addresses with prefix length; `device` the device's, which the holder itself gives to `lo` only.
    """

    interface: str = "tap0"
    bench: tuple[str, ...] = ("192.0.2.1/24", "2001:db8::1/64")
    device: tuple[str, ...] = ("192.0.2.10", "2001:db8::10")

    @classmethod
    def loopback(cls) -> PrivateNetwork:
        """For a process device: bench and device addresses all on `lo`."""
        return cls(interface="lo")

    def addresses(self) -> list[str]:
        """What the holder is to configure on the interface."""
        if self.interface != "lo":
            return list(self.bench)
        return [*self.bench, *(f"{each}/{128 if ':' in each else 32}" for each in self.device)]


@dataclass(frozen=True, slots=True)
class CaptureReport:
    """What a capture came to. `dropped` frames were lost by the kernel: with any, the file is not complete."""

    file: Path
    sha256: str
    frames: int
    dropped: int


class DeviceProcess:
    """A process that the holder runs. `pid` is as this process sees it (0 once it is gone)."""

    def __init__(self, holder: Holder, *, inner_pid: int, pidfd: int) -> None:
        self._holder = holder
        self._inner_pid = inner_pid
        self._pidfd = pidfd
        self._code: int | None = None
        found = re.search(r"^Pid:\s*(-?\d+)", Path(f"/proc/self/fdinfo/{pidfd}").read_text(), re.MULTILINE)
        self.pid = max(0, int(found[1])) if found else 0

    def fileno(self) -> int:
        """A descriptor that becomes readable when the process ends (for select)."""
        return self._pidfd

    def alive(self) -> bool:
        """True while it runs."""
        return self._pidfd >= 0 and not _readable(self._pidfd, 0.0)

    def wait(self, timeout: float) -> int:
        """The exit code, negative for a signal.

        Raises:
            ControlFault: it did not end within `timeout` seconds, or the holder is gone.
        """
        if self._code is None:
            if not _readable(self._pidfd, timeout):
                raise ControlFault(f"process {self.pid} did not end within {timeout:g} s")
            self._code = self._holder.exit_code(self._inner_pid)
        return self._code

    def kill(self) -> int:
        """SIGKILL for it and its session; returns the exit code when it is gone. Harmless twice."""
        if self._code is None:
            self._code = self._holder.kill(self._inner_pid)
        return self._code

    def release(self) -> None:
        """Close the descriptor of a process that has ended."""
        descriptor, self._pidfd = self._pidfd, -1
        if descriptor >= 0:
            os.close(descriptor)


class Holder:
    """Starts the holder process and talks to it; safe to share between threads.

    `scratch` is a private folder with a path short enough for unix sockets; it goes with the holder.

    Raises:
        ControlFault: no namespace, no tap or no `ip` on this computer; the hint says what to install or allow.
    """

    def __init__(self, network: PrivateNetwork | None = None) -> None:
        self.network = network or PrivateNetwork()
        self._lock = threading.Lock()
        self._capturing: Path | None = None
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.scratch = _scratch_folder()
        config = {
            "interface": self.network.interface,
            "addresses": self.network.addresses(),
            "scratch": str(self.scratch),
        }
        root = str(Path(harness.__file__).parent.parent)
        argv = [sys.executable, "-I", "-S", "-c", _BOOT, root, json.dumps(config), str(theirs.fileno())]
        with theirs:
            self._process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, pass_fds=(theirs.fileno(),), start_new_session=True
            )
        self._socket: socket.socket | None = ours
        try:
            self._receive(Deadline(_START_S))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """The holder process itself."""
        return self._process.pid

    def sockets(
        self, count: int, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM, protocol: int = 0
    ) -> list[socket.socket]:
        """New sockets that live in the device's network; they stay there wherever they are used.

        Raises:
            ControlFault: the holder is gone or cannot make such a socket.
        """
        made: list[socket.socket] = []
        try:
            while len(made) < count:
                request = {"do": "sockets", "family": int(family), "kind": int(kind), "protocol": protocol}
                _, descriptors = self._ask({**request, "count": min(MAX_SOCKETS, count - len(made))})
                made.extend(socket.socket(fileno=each) for each in descriptors)
        except BaseException:
            for each in made:
                each.close()
            raise
        return made

    def run(
        self,
        argv: Sequence[str],
        *,
        log: Path,
        stdout: int | None = None,
        descriptors: Sequence[int] = (),
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> DeviceProcess:
        """Start `argv` inside the device's network, its output appended to `log`.

        `stdout` is a descriptor that gets the standard output instead; `descriptors` become 3, 4, 5 … there.
        The environment is PATH and what `env` adds, nothing of the harness's own.

        Raises:
            ControlFault: the program is missing or cannot be started.
        """
        with log.open("ab", buffering=0) as log_file:
            output = log_file.fileno()
            given = [output if stdout is None else stdout, output, *descriptors]
            reply, received = self._ask(
                {
                    "do": "run",
                    "argv": list(argv),
                    "env": {"PATH": os.environ.get("PATH", os.defpath), **(env or {})},
                    "cwd": str(cwd or log.parent.absolute()),
                },
                given,
            )
        return DeviceProcess(self, inner_pid=reply["pid"], pidfd=received[0])

    def kill(self, inner_pid: int) -> int:
        """Kill a process by the holder's own number for it (see DeviceProcess.kill)."""
        reply, _ = self._ask({"do": "kill", "pid": inner_pid})
        return _code(reply, inner_pid)

    def exit_code(self, inner_pid: int) -> int:
        """The exit code of a process that has ended."""
        reply, _ = self._ask({"do": "status", "pid": inner_pid})
        return _code(reply, inner_pid)

    def capture_on(self, file: Path) -> None:
        """Write every frame on the interface to the new pcapng `file` from now on.

        Raises:
            FileExistsError: evidence is never overwritten.
            ControlFault: a capture is running already.
        """
        with file.open("xb") as opened:
            self._ask({"do": "capture_on"}, [opened.fileno()])
        self._capturing = file

    def capture_off(self) -> CaptureReport:
        """End the capture: what was on the wire before this call is in the file.

        Raises:
            ControlFault: no capture is running.
        """
        reply, _ = self._ask({"do": "capture_off"})
        file, self._capturing = self._capturing, None
        if file is None:
            raise ControlFault("a capture ran that this side had not started")
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        return CaptureReport(file=file, sha256=digest, frames=reply["frames"], dropped=reply["dropped"])

    def alive(self) -> bool:
        """True while the holder process runs."""
        return self._socket is not None and self._process.poll() is None

    def close(self) -> None:
        """End the holder, and with it the device, the namespace and the tap. May be called twice."""
        with self._lock:
            if self._socket is not None:
                self._socket.close()
                self._socket = None
        try:
            self._process.wait(_CLOSE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(_CLOSE_S)
        shutil.rmtree(self.scratch, ignore_errors=True)  # when the holder had no time to

    def _ask(self, request: dict[str, Any], descriptors: Sequence[int] = ()) -> tuple[dict[str, Any], list[int]]:
        message = json.dumps(request).encode()
        if len(message) > MAX_MESSAGE:
            raise UsageError(f"the device command is longer than {MAX_MESSAGE} bytes")
        with self._lock:
            if self._socket is None:
                raise ControlFault("the holder of the device's network is closed")
            try:
                socket.send_fds(self._socket, [message], list(descriptors))
            except OSError as error:
                raise _gone() from error
            return self._receive(Deadline(_REPLY_S))

    def _receive(self, deadline: Deadline) -> tuple[dict[str, Any], list[int]]:
        assert self._socket is not None
        if not _readable(self._socket.fileno(), deadline.left()):
            # a late answer would be taken for the next one
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            raise ControlFault(f"the holder of the device's network did not answer in {deadline.seconds:g} s")
        try:
            message, descriptors = receive(self._socket, MAX_SOCKETS)
        except OSError as error:
            raise _gone() from error
        if not message:
            raise _gone()
        reply: dict[str, Any] = json.loads(message)
        if "error" in reply:
            raise ControlFault(reply["error"], hint=reply["hint"] or None)
        return reply, descriptors


def _scratch_folder() -> Path:
    folder = tempfile.mkdtemp(prefix="proofrig-")
    if len(folder) > _LONGEST_SCRATCH:
        Path(folder).rmdir()
        folder = tempfile.mkdtemp(prefix="proofrig-", dir="/tmp")
    return Path(folder)


def _gone() -> ControlFault:
    return ControlFault(
        "the holder of the device's network is gone", hint="it was killed or crashed: see its messages above"
    )


def _code(reply: dict[str, Any], inner_pid: int) -> int:
    code = reply["code"]
    if not isinstance(code, int):
        raise ControlFault(f"the holder knows no ended process {inner_pid}")
    return code


def _readable(descriptor: int, timeout: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(max(0.0, timeout) * 1000))
