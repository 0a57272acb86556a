"""The holder process: owner of one device's private network, of its processes and of the packet capture.

Started by `harness.control.holder` with a configuration (JSON) and one end of a socket pair. It enters a
network and a process namespace of its own, so that whatever it ever starts ends with it, and it ends with
the harness: when the socket closes or the harness process is gone. Standard library only, for a fast start.

Requests and replies are JSON, one a packet of the socket pair (SOCK_SEQPACKET), file descriptors beside
them. Every request gets exactly one reply: `{...}` or `{"error": …, "hint": …}`.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import select
import signal
import socket
import struct
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

from harness.control import pcapng
from harness.control.emulators import emulator_package

__all__ = ["MAX_MESSAGE", "MAX_SOCKETS", "main", "receive"]

MAX_MESSAGE = 128 * 1024
MAX_SOCKETS = 200  # file descriptors a message; the kernel's limit is 253

_CLONE_NEWPID = 0x20000000
_CLONE_NEWNET = 0x40000000
_CLONE_NEWUSER = 0x10000000
_PR_SET_PDEATHSIG = 1
_ETH_P_ALL = 3
_SOL_PACKET = 263
_PACKET_STATISTICS = 6
_SO_TIMESTAMPNS = 35
_SO_RCVBUFFORCE = 33
_CAPTURE_BUFFER = 32 * 1024 * 1024
_FRAMES_A_TURN = 256  # so that a flood does not keep requests waiting
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_libc = ctypes.CDLL(None, use_errno=True)


class Refused(Exception):
    """A request that cannot be carried out; becomes the error reply."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def main() -> None:
    """Enter the namespaces, fork their first process, and wait for it."""
    config = json.loads(sys.argv[1])
    control = socket.socket(fileno=int(sys.argv[2]))
    control.set_inheritable(False)  # no device may talk to us over it
    harness = os.pidfd_open(os.getppid())
    try:
        _enter_namespaces()
    except Refused as refusal:
        _reply(control, {"error": str(refusal), "hint": refusal.hint})
        sys.exit(1)
    inner = os.fork()
    if inner:
        control.close()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        status = os.waitpid(inner, 0)[1]
        import shutil  # only now: it would cost a third of the start

        shutil.rmtree(config["scratch"], ignore_errors=True)
        os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
    _die_with_parent()
    try:
        _set_up_network(config)
    except Refused as refusal:
        _reply(control, {"error": str(refusal), "hint": refusal.hint})
        os._exit(1)
    _reply(control, {"ready": True})
    _Server(control, harness, interface=config["interface"]).serve()


def receive(control: socket.socket, count: int) -> tuple[bytes, list[int]]:
    """One message with its descriptors, which programs started later do not inherit."""
    message, descriptors, _, _ = socket.recv_fds(control, MAX_MESSAGE, count)
    for each in descriptors:
        os.set_inheritable(each, False)  # recv_fds of Python 3.11 drops its flags argument
    return message, descriptors


class _Server:
    """Answers requests, collects ended processes and writes the capture, all in one loop."""

    def __init__(self, control: socket.socket, harness: int, *, interface: str) -> None:
        self._control = control
        self._harness = harness
        self._interface = interface
        self._poll = select.poll()
        self._running: dict[int, int] = {}  # pid → pidfd
        self._codes: dict[int, int] = {}
        self._capture: _Capture | None = None

    def serve(self) -> NoReturn:
        """Loop until the harness lets go; the kernel then ends every process of the namespace."""
        self._poll.register(self._control, select.POLLIN)
        self._poll.register(self._harness, select.POLLIN)
        while True:
            ready = {descriptor for descriptor, _ in self._poll.poll()}
            if self._capture is not None and self._capture.descriptor in ready:
                self._capture.turn()
            for pid, pidfd in list(self._running.items()):
                if pidfd in ready:
                    self._collect(pid)
            if self._control.fileno() in ready and not self._answer():
                break
            if self._harness in ready:
                break
        if self._capture is not None:
            self._capture.finish()
        os._exit(0)

    def _answer(self) -> bool:
        try:
            message, received = receive(self._control, 16)
        except ConnectionError:
            return False
        if not message:
            return False
        request = json.loads(message)
        outgoing: list[int] = []
        try:
            reply = self._carry_out(request, received, outgoing)
        except Refused as refusal:
            reply = {"error": str(refusal), "hint": refusal.hint}
        except OSError as error:
            reply = {"error": f"{request.get('do')}: {error}", "hint": ""}
        try:
            _reply(self._control, reply, outgoing)
        except ConnectionError:
            return False
        finally:
            for descriptor in (*received, *outgoing):
                os.close(descriptor)
        return True

    def _carry_out(self, request: dict[str, Any], received: list[int], outgoing: list[int]) -> dict[str, Any]:
        match request["do"]:
            case "sockets":
                for _ in range(min(request["count"], MAX_SOCKETS)):
                    made = socket.socket(request["family"], request["kind"], request["protocol"])
                    outgoing.append(made.detach())
                return {}
            case "run":
                pid = _spawn(request["argv"], request["env"], request["cwd"], received)
                pidfd = os.pidfd_open(pid)
                self._running[pid] = pidfd
                self._poll.register(pidfd, select.POLLIN)
                outgoing.append(os.dup(pidfd))
                return {"pid": pid}
            case "kill":
                return self._kill(request["pid"])
            case "status":
                return {"code": self._codes.get(request["pid"])}
            case "capture_on":
                if self._capture is not None:
                    raise Refused("a capture is running already", "turn it off first")
                self._capture = _Capture(self._interface, os.dup(received[0]))
                self._poll.register(self._capture.descriptor, select.POLLIN)
                return {}
            case "capture_off":
                if self._capture is None:
                    raise Refused("no capture is running", "turn it on first")
                self._poll.unregister(self._capture.descriptor)
                capture, self._capture = self._capture, None
                return capture.finish()
        raise Refused(f"unknown request {request['do']!r}")

    def _kill(self, pid: int) -> dict[str, Any]:
        if pid in self._running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            signal.pidfd_send_signal(self._running[pid], signal.SIGKILL)
            self._collect(pid)
        return {"code": self._codes.get(pid)}

    def _collect(self, pid: int) -> None:
        _, status = os.waitpid(pid, 0)
        pidfd = self._running.pop(pid)
        self._poll.unregister(pidfd)
        os.close(pidfd)
        self._codes[pid] = os.waitstatus_to_exitcode(status)
        # a device's helpers go with it, wherever its end came from
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        while self._orphans():
            pass

    def _orphans(self) -> bool:
        """Collect one adopted process that ended; ours are told apart by their pidfd."""
        try:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return False
        if found is None or found.si_pid in self._running:
            return False
        os.waitpid(found.si_pid, 0)
        return True


class _Capture:
    """Every frame on the interface, written as pcapng with the kernel's time of arrival."""

    def __init__(self, interface: str, file: int) -> None:
        self._file = os.fdopen(file, "wb", buffering=256 * 1024)
        self._loopback = interface == "lo"
        self._frames = 0
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _CAPTURE_BUFFER)
        except PermissionError:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _CAPTURE_BUFFER)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._socket.bind((interface, _ETH_P_ALL))
        self._socket.setblocking(False)
        self.descriptor = self._socket.fileno()
        self._file.write(pcapng.block_header(interface))
        self._file.flush()

    def turn(self) -> bool:
        """Write what waits, a bounded number of frames; true when something was there."""
        for _ in range(_FRAMES_A_TURN):
            try:
                frame, extra, _, address = self._socket.recvmsg(1 << 18, 64)
            except BlockingIOError:
                self._file.flush()
                return False
            outgoing = address[2] == socket.PACKET_OUTGOING
            if self._loopback and outgoing:
                continue  # seen a second time on its way in
            seconds, nanoseconds = struct.unpack("@qq", extra[0][2][:16])
            direction = pcapng.OUTBOUND if outgoing else pcapng.INBOUND
            at_ns = seconds * 1_000_000_000 + nanoseconds
            self._file.write(pcapng.packet_block(frame, at_ns=at_ns, direction=direction))
            self._frames += 1
        return True

    def finish(self) -> dict[str, Any]:
        """Take what is still waiting, add the counts, close."""
        until = time.monotonic() + 2.0
        while self.turn() and time.monotonic() < until:
            pass
        _, dropped = struct.unpack("=II", self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
        self._socket.close()
        self._file.write(pcapng.statistics_block(received=self._frames, dropped=dropped))
        self._file.close()
        return {"frames": self._frames, "dropped": dropped}


def _enter_namespaces() -> None:
    flags = _CLONE_NEWNET | _CLONE_NEWPID
    if _libc.unshare(flags) == 0:
        return
    user, group = os.getuid(), os.getgid()
    if _libc.unshare(_CLONE_NEWUSER | flags) != 0:
        reason = os.strerror(ctypes.get_errno())
        raise Refused(
            f"no private network namespace can be made: {reason}",
            "run as root, or allow unprivileged user namespaces (sysctl kernel.unprivileged_userns_clone=1, "
            "on Ubuntu also kernel.apparmor_restrict_unprivileged_userns=0)",
        )
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {user} 1")
    Path("/proc/self/gid_map").write_text(f"0 {group} 1")


def _die_with_parent() -> None:
    if _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        os._exit(126)


def _set_up_network(config: dict[str, Any]) -> None:
    lines = ["link set lo up"]
    interface = config["interface"]
    if interface != "lo":
        try:
            os.close(os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC))
        except OSError as error:
            raise Refused(
                f"/dev/net/tun cannot be opened: {error.strerror}",
                "modprobe tun; chmod 0666 /dev/net/tun (Debian's default), or run as root",
            ) from error
        lines += [f"tuntap add dev {interface} mode tap", f"link set {interface} up"]
    for address in config["addresses"]:
        lines.append(f"addr add {address} dev {interface}" + (" nodad" if ":" in address else ""))
    reading, writing = os.pipe()
    log_reading, log_writing = os.pipe()
    os.write(writing, "\n".join([*lines, ""]).encode())
    os.close(writing)
    environment = {"PATH": _PATH}
    pid = _spawn(["ip", "-batch", "-"], environment, "/", [log_writing, log_writing], stdin=reading)
    os.close(reading)
    os.close(log_writing)
    said = os.read(log_reading, 4096).decode(errors="replace").strip()
    os.close(log_reading)
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0:
        raise Refused(f"the private network cannot be set up: {said}", "is IPv6 switched on in this kernel?")


def _spawn(
    argv: list[str], environment: dict[str, str], cwd: str, descriptors: list[int], *, stdin: int | None = None
) -> int:
    """Start argv in a session of its own; `descriptors` become 1, 2, 3 …; it dies with this process."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            _die_with_parent()
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            null = os.open("/dev/null", os.O_RDONLY) if stdin is None else stdin
            # first out of the way of the numbers that they are to get
            high = [fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, 64) for each in (null, *descriptors)]
            writing = fcntl.fcntl(writing, fcntl.F_DUPFD_CLOEXEC, 64)
            for wanted, each in enumerate(high):
                os.dup2(each, wanted, inheritable=True)
            os.chdir(cwd)
            os.execvpe(argv[0], argv, environment)  # noqa: S606
        except OSError as error:
            os.write(writing, struct.pack("=i", error.errno or errno.EINVAL))
        finally:
            os._exit(127)
    os.close(writing)
    failed = os.read(reading, 4)
    os.close(reading)
    if failed:
        os.waitpid(pid, 0)
        reason = os.strerror(struct.unpack("=i", failed)[0])
        raise Refused(f"{argv[0]} cannot be started: {reason}", _install_hint(argv[0]))
    return pid


def _install_hint(program: str) -> str:
    name = Path(program).name
    if name == "ip":
        return "apt-get install iproute2"
    if name.startswith("qemu-system-"):
        return f"apt-get install {emulator_package(name)}"
    return "check the path, and that it is executable"


def _reply(control: socket.socket, reply: dict[str, Any], descriptors: list[int] | None = None) -> None:
    socket.send_fds(control, [json.dumps(reply).encode()], descriptors or [])
