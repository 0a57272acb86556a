"""The SSH server in front of the service menu (VP1-ICD §3), on paramiko; a thread or three a connection."""

from __future__ import annotations

import asyncio
import concurrent.futures
import io
import logging
import queue
import socket
import threading
from collections.abc import Callable
from typing import TypeVar

import paramiko
from mind import KeyOffer
from paramiko.common import (
    AUTH_FAILED,
    AUTH_SUCCESSFUL,
    OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED,
    OPEN_SUCCEEDED,
)
from paramiko.kex_curve25519 import KexCurve25519
from pump import Pump

GRACE_S = 60.0
"""How long a client may take to authenticate and ask for a session."""

VERSION = "SSH-2.0-dropbear_2022.83"

Result = TypeVar("Result")


class _Transport(paramiko.Transport):
    """Knows curve25519 by both of its names."""

    _kex_info = {
        **paramiko.Transport._kex_info,  # type: ignore[attr-defined]
        "curve25519-sha256": KexCurve25519,
    }

    @property
    def preferred_ciphers(self) -> tuple[str, ...]:
        """Offers what the pump offers; a client that insists on the first one, which paramiko lacks, gets nowhere."""
        return ("chacha20-poly1305@openssh.com", *super().preferred_ciphers)


class _Socket(socket.socket):
    """A socket that swallows what is sent while the wire is dead."""

    def __init__(self, connection: socket.socket, alive: Callable[[], bool]) -> None:
        super().__init__(fileno=connection.detach())
        self._alive = alive

    def send(self, data: bytes, flags: int = 0, /) -> int:  # type: ignore[override]
        return super().send(data, flags) if self._alive() else len(data)


class _Doorman(paramiko.ServerInterface):
    """Judges authentication; lets every kind of session request through to the menu, and nothing else."""

    def __init__(self, allows: Callable[[KeyOffer], bool]) -> None:
        self._allows = allows
        self.asked = threading.Event()

    def _judge(self, user: str, method: str, secret: bytes = b"") -> int:
        allowed = self._allows(KeyOffer(user=user, method=method, secret=secret))
        return AUTH_SUCCESSFUL if allowed else AUTH_FAILED

    def check_auth_none(self, username: str) -> int:
        return self._judge(username, "none")

    def check_auth_password(self, username: str, password: str | bytes) -> int:
        secret = password if isinstance(password, bytes) else password.encode("utf-8", "replace")
        return self._judge(username, "password", secret)

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        return self._judge(username, "publickey", key.asbytes())

    def get_allowed_auths(self, _username: str) -> str:
        return "publickey"

    def check_channel_request(self, kind: str, _chanid: int) -> int:
        return OPEN_SUCCEEDED if kind == "session" else OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED

    def check_channel_pty_request(self, *_details: object) -> bool:
        return True

    def check_channel_window_change_request(self, *_details: object) -> bool:
        return True

    def check_channel_shell_request(self, *_details: object) -> bool:
        self.asked.set()
        return True

    def check_channel_exec_request(self, *_details: object) -> bool:
        self.asked.set()
        return True

    def check_channel_subsystem_request(self, *_details: object) -> bool:
        self.asked.set()
        return True


class SshServer:
    """Serves accepted connections; everything of the pump's happens in its event loop."""

    def __init__(self, pump: Pump, *, loop: asyncio.AbstractEventLoop) -> None:
        self._pump = pump
        self._loop = loop
        logging.getLogger("paramiko").setLevel(logging.CRITICAL + 1)

    def accept(self, connection: socket.socket, peer: str) -> None:
        """Serve one connection in threads of its own."""
        connection.setblocking(True)
        threading.Thread(target=self._serve, args=(connection, peer), daemon=True).start()

    def _in_loop(self, call: Callable[[], Result]) -> Result:
        async def carry_out() -> Result:
            return call()

        return asyncio.run_coroutine_threadsafe(carry_out(), self._loop).result(timeout=5.0)

    def _allows(self, offer: KeyOffer) -> bool:
        try:
            return self._in_loop(lambda: self._pump.ssh_allows(offer))
        except concurrent.futures.TimeoutError:
            return False

    def _serve(self, connection: socket.socket, peer: str) -> None:
        guarded = _Socket(connection, lambda: self._pump.wire.transport_alive)
        doorman = _Doorman(self._allows)
        transport = _Transport(guarded)
        options = transport.get_security_options()
        options.kex = ("curve25519-sha256", "curve25519-sha256@libssh.org")
        options.ciphers = ("aes128-ctr", "aes256-ctr")
        options.digests = ("hmac-sha2-256",)
        options.compression = ("none",)
        transport.local_version = VERSION
        transport.add_server_key(paramiko.Ed25519Key.from_private_key(io.StringIO(self._pump.key("ssh"))))
        try:
            transport.start_server(server=doorman, event=threading.Event())
            channel = transport.accept(GRACE_S)
            if channel is not None and doorman.asked.wait(GRACE_S):
                self._session(channel, peer)
        except (EOFError, OSError, paramiko.SSHException):
            pass  # the client went away, or never was one
        finally:
            transport.close()

    def _session(self, channel: paramiko.Channel, peer: str) -> None:
        outgoing: queue.Queue[bytes | None] = queue.Queue()
        line = self._in_loop(
            lambda: self._pump.connect("ssh", name=peer, write=outgoing.put, hang_up=lambda: outgoing.put(None))
        )
        threading.Thread(target=_write_out, args=(channel, outgoing), daemon=True).start()
        try:
            while data := channel.recv(4096):
                self._loop.call_soon_threadsafe(line.received, data)
        finally:
            outgoing.put(None)
            self._loop.call_soon_threadsafe(self._pump.disconnect, line)


def _write_out(channel: paramiko.Channel, outgoing: queue.Queue[bytes | None]) -> None:
    try:
        while (data := outgoing.get()) is not None:
            channel.sendall(data)
        channel.send_exit_status(0)
        channel.close()
    except (EOFError, OSError, paramiko.SSHException):
        pass  # the client went away
