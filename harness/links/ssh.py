"""SSH towards a device, by paramiko, with pinned host keys and a deadline on every wait.

What the device does (refuse, hang up, show another key, say nothing) is returned, not raised.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import paramiko
from paramiko.pkey import UnknownKeyType

from harness.capture import Tap
from harness.errors import LinkLost, UsageError
from harness.links.base import Deadline, LinkStalled, PeerClosed
from harness.links.dialer import Dialer, connect
from harness.links.ssh_algorithms import AlgorithmNote, Severity, audit_algorithms, offered_algorithms
from harness.links.ssh_values import SshAccepted, SshHostKeyMismatch, SshNoConnection, SshOutcome, SshRefused
from harness.links.stream import StreamLink

__all__ = [
    "AlgorithmNote",
    "Severity",
    "SshAccepted",
    "SshHostKeyMismatch",
    "SshLink",
    "SshNoConnection",
    "SshOutcome",
    "SshRefused",
    "audit_algorithms",
    "connect_ssh",
    "offered_algorithms",
    "open_ssh",
]

_LOG = "proofrig.paramiko"
logging.getLogger(_LOG).setLevel(logging.CRITICAL + 1)  # a hostile server fills the log; outcomes say what matters

_SLICE = 0.1
_ERRORS = (paramiko.SSHException, OSError, EOFError)


class SshLink:
    """A connection whose host key is the pinned one. Use `open_ssh` (logged in) or `connect_ssh` (not yet)."""

    def __init__(self, transport: paramiko.Transport, *, name: str, tap: Tap) -> None:
        self.name = name
        self._transport = transport
        self._tap = tap
        self._streams: list[StreamLink] = []
        self._turn = threading.Lock()

    @property
    def lost(self) -> LinkLost | None:
        """Why the connection is gone, None while it is up."""
        if self._transport.is_active():
            return None
        return PeerClosed(f"{self.name}: {self._gone().reason}")

    @property
    def authenticated(self) -> bool:
        """Whether a log-in was accepted and the connection still stands."""
        return self._transport.is_authenticated()

    @property
    def server_banner(self) -> bytes:
        """What the device says before the log-in (RFC 4252 section 5.4), if anything."""
        banner = self._transport.get_banner()
        return banner if isinstance(banner, bytes) else str(banner or "").encode()

    def auth_attempt(
        self, user: str, method: str, secret: str | Path | None = None, *, timeout: float = 10
    ) -> SshOutcome:
        """Try to log in once; None is silence.

        `method` is `password` or `keyboard-interactive` (`secret` is the password), `publickey` (`secret` is
        the path of a private key), or `none`.

        Raises:
            UsageError: the key file cannot be read, or no such method.
        """
        attempt = self._authentication(user, method, secret)
        transport = self._transport
        with self._turn:
            if not transport.is_active():
                return self._gone()
            transport.auth_timeout = timeout
            deadline = Deadline(timeout)
            try:
                further = attempt()
            except paramiko.BadAuthenticationType as error:
                return SshRefused(method, allowed=tuple(error.allowed_types))
            except paramiko.AuthenticationException as error:
                if not transport.is_active():
                    return self._gone()
                return None if deadline.passed else SshRefused(method, reason=str(error))
            except _ERRORS as error:
                return self._gone(error)
            if further:
                return SshRefused(method, allowed=tuple(further), reason="further authentication required")
            return SshAccepted(method)

    def shell(self, *, pty: bool = True, timeout: float = 10) -> StreamLink | SshRefused | SshNoConnection | None:
        """Open a session with a shell (on a terminal, if `pty`) and return its stream; None is silence."""

        def ask(channel: paramiko.Channel) -> None:
            if pty:
                channel.get_pty()
            channel.invoke_shell()

        return self._session("shell", ask, timeout)

    def exec(self, command: str, *, timeout: float = 10) -> StreamLink | SshRefused | SshNoConnection | None:
        """Ask for `command` to be run; returns as `shell`. An accepted request is no proof that it is this command."""
        return self._session("exec", lambda channel: channel.exec_command(command), timeout)

    def subsystem(self, name: str, *, timeout: float = 10) -> StreamLink | SshRefused | SshNoConnection | None:
        """Ask for a subsystem, such as `sftp`; returns as `shell`."""
        return self._session(f"subsystem {name}", lambda channel: channel.invoke_subsystem(name), timeout)

    def forward_local(self, host: str, port: int, *, timeout: float = 10) -> SshOutcome:
        """Ask the device to connect to `host` and `port` for us (direct-tcpip); an accepted channel is closed again."""
        channel = self._open("direct-tcpip", timeout, (host, port), ("127.0.0.1", 40000))
        if not isinstance(channel, paramiko.Channel):
            return channel
        _close(channel)
        return SshAccepted("direct-tcpip")

    def forward_remote(self, host: str, port: int, *, timeout: float = 10) -> SshOutcome:
        """Ask the device to listen on `host` and `port` for us (tcpip-forward); an accepted one is cancelled again."""
        transport = self._transport
        silent = threading.Event()
        with self._turn:
            if not transport.is_active():
                return self._gone()

            def give_up() -> None:
                silent.set()
                if transport.completion_event is not None:
                    transport.completion_event.set()

            transport.global_response = None
            with _after(timeout, give_up):
                accepted = transport.global_request("tcpip-forward", (host, port)) is not None
            if not transport.is_active():
                return self._gone()
            if silent.is_set():
                return None
            if not accepted:
                return SshRefused("tcpip-forward")
            transport.global_request("cancel-tcpip-forward", (host, port), wait=False)
            return SshAccepted("tcpip-forward")

    def close(self) -> None:
        """Close all streams and the connection, and join its thread; idempotent."""
        for stream in self._streams:
            stream.close()
        self._transport.close()
        self._transport.join(2)

    def _authentication(self, user: str, method: str, secret: str | Path | None) -> Callable[[], list[str]]:
        transport = self._transport
        text = "" if secret is None else str(secret)
        if method == "none":
            return lambda: transport.auth_none(user)
        if method == "password":
            return lambda: transport.auth_password(user, text, fallback=False)
        if method == "keyboard-interactive":
            return lambda: transport.auth_interactive(user, lambda _title, _text, prompts: [text] * len(prompts))
        if method == "publickey":
            try:
                key = paramiko.PKey.from_path(text)
            except (*_ERRORS, ValueError, UnknownKeyType) as error:
                raise UsageError(f"{self.name}: cannot use the key {text}: {error}") from error
            return lambda: transport.auth_publickey(user, key)
        raise UsageError(
            f"{self.name}: no authentication method {method!r}",
            hint="use none, password, keyboard-interactive or publickey",
        )

    def _session(
        self, what: str, ask: Callable[[paramiko.Channel], None], timeout: float
    ) -> StreamLink | SshRefused | SshNoConnection | None:
        deadline = Deadline(timeout)
        channel = self._open("session", timeout)
        if not isinstance(channel, paramiko.Channel):
            return channel
        channel.set_combine_stderr(True)
        silent = threading.Event()

        def give_up() -> None:
            silent.set()
            _close(channel)  # ends paramiko's untimed wait for the answer

        try:
            with _after(deadline.remaining, give_up):
                ask(channel)
        except _ERRORS as error:
            _close(channel)
            if silent.is_set():
                return None
            return SshRefused(what) if self._transport.is_active() else self._gone(error)
        number = len(self._streams) + 1
        stream = StreamLink(f"{self.name} {what}", _ChannelTransport(channel), self._tap, channel=number)
        self._streams.append(stream)
        return stream

    def _open(
        self, kind: str, timeout: float, to: tuple[str, int] | None = None, source: tuple[str, int] | None = None
    ) -> paramiko.Channel | SshRefused | SshNoConnection | None:
        if not self._transport.is_active():
            return self._gone()
        deadline = Deadline(timeout)
        try:
            return self._transport.open_channel(kind, to, source, timeout=timeout)
        except paramiko.ChannelException as error:
            return SshRefused(kind, reason=error.text)
        except _ERRORS as error:
            if not self._transport.is_active():
                return self._gone(error)
            return None if deadline.passed else SshRefused(kind, reason=str(error))

    def _gone(self, error: BaseException | None = None) -> SshNoConnection:
        why = self._transport.get_exception() or error
        return SshNoConnection(str(why) if why is not None and str(why) else "the device closed the connection")


class _ChannelTransport:
    """One channel as a transport of a stream; its bytes arrive through paramiko's one reader."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel
        channel.settimeout(_SLICE)  # shared by both directions: deadlines are kept here

    def read(self, timeout: float) -> bytes:
        deadline = Deadline(timeout)
        while True:
            try:
                data = self._channel.recv(65536)
            except TimeoutError:
                if deadline.passed:
                    return b""
                continue
            except (OSError, paramiko.SSHException) as error:
                raise PeerClosed(f"the SSH channel ended: {error}") from error
            if not data:
                raise PeerClosed("the device closed the SSH channel")
            return data

    def write(self, data: bytes, timeout: float) -> None:
        deadline = Deadline(timeout)
        rest = data
        while rest:
            try:
                rest = rest[self._channel.send(rest) :]
            except TimeoutError:
                if deadline.passed:
                    raise LinkStalled(f"the device took {len(data) - len(rest)} of {len(data)} bytes") from None
            except (OSError, EOFError, paramiko.SSHException) as error:
                raise PeerClosed(f"the SSH channel ended: {error}") from error

    def close(self) -> None:
        _close(self._channel)


def _close(channel: paramiko.Channel) -> None:
    """Close a channel; that the device hung up at that very moment is no error."""
    with suppress(*_ERRORS):
        channel.close()


@contextmanager
def _after(seconds: float, action: Callable[[], None]) -> Iterator[None]:
    """Run `action` if the body takes longer than `seconds`."""
    timer = threading.Timer(seconds, action)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def connect_ssh(
    dialer: Dialer, host: str, port: int = 22, *, host_key: str, timeout: float, name: str, tap: Tap
) -> SshLink | SshNoConnection | SshHostKeyMismatch:
    """Connect, agree on keys and check that the host key is `host_key` (`ssh-ed25519 AAAA…`); no log-in yet."""
    kind, _, rest = host_key.strip().partition(" ")
    pinned = rest.split(" ")[0]
    if not pinned:
        raise UsageError(f"{name}: the host key must read like 'ssh-ed25519 AAAA…'", hint="see ssh-keyscan")
    deadline = Deadline(timeout)
    try:
        sock = connect(dialer, host, port, timeout=timeout)
    except OSError as error:
        return SshNoConnection(error.strerror or str(error))
    try:
        transport = paramiko.Transport(sock)
        transport.set_log_channel(_LOG)
        transport.banner_timeout = transport.handshake_timeout = timeout
        transport.clear_to_send_timeout = timeout
        _prefer(transport, kind)
        agreed = threading.Event()
        transport.start_client(event=agreed)
    except _ERRORS as error:
        sock.close()
        return SshNoConnection(str(error))
    while not agreed.wait(min(_SLICE, deadline.remaining)) and transport.is_active() and not deadline.passed:
        pass
    if not (agreed.is_set() and transport.is_active()):
        why = transport.get_exception()
        mute = f"no key exchange within {timeout:g} s" if transport.is_active() else "the device closed the connection"
        _abandon(transport)
        return SshNoConnection(str(why) if why is not None and str(why) else mute)
    key = transport.get_remote_server_key()
    if (key.get_name(), key.get_base64()) != (kind, pinned):
        _abandon(transport)
        return SshHostKeyMismatch(f"{key.get_name()} {key.get_base64()}")
    return SshLink(transport, name=name, tap=tap)


def open_ssh(
    dialer: Dialer,
    host: str,
    port: int = 22,
    *,
    user: str,
    host_key: str,
    timeout: float,
    name: str,
    tap: Tap,
    key_file: Path | None = None,
    password: str | None = None,
) -> SshLink | SshRefused | SshNoConnection | SshHostKeyMismatch:
    """Connect and log in with the key, else the password, else nothing; silence is `SshNoConnection` too."""
    started = time.monotonic()
    link = connect_ssh(dialer, host, port, host_key=host_key, timeout=timeout, name=name, tap=tap)
    if not isinstance(link, SshLink):
        return link
    method = "publickey" if key_file is not None else "password" if password is not None else "none"
    left = max(0.1, timeout - (time.monotonic() - started))
    try:
        outcome = link.auth_attempt(user, method, key_file if key_file is not None else password, timeout=left)
    except UsageError:
        link.close()
        raise
    if isinstance(outcome, SshAccepted):
        return link
    link.close()
    return SshNoConnection("no answer to the log-in") if outcome is None else outcome


def _prefer(transport: paramiko.Transport, kind: str) -> None:
    """Ask for the pinned kind of host key first, so that a server with several shows that one."""
    options = transport.get_security_options()
    family = ("rsa-sha2-512", "rsa-sha2-256") if kind == "ssh-rsa" else (kind,)
    options.key_types = sorted(options.key_types, key=lambda name: name not in family)


def _abandon(transport: paramiko.Transport) -> None:
    transport.close()
    transport.join(2)
