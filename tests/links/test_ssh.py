"""SSH against OpenSSH's server, a paramiko server of our own, and servers that misbehave."""

# ruff: noqa: ARG001, ARG002, ARG005 - peers take what their protocol or library hands them

from __future__ import annotations

import contextlib
import getpass
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import paramiko
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ssh_daemon import make_key, running_sshd

from harness.errors import LinkLost, UsageError
from harness.links.dialer import HostDialer
from harness.links.ssh import (
    Severity,
    SshAccepted,
    SshHostKeyMismatch,
    SshLink,
    SshNoConnection,
    SshRefused,
    audit_algorithms,
    connect_ssh,
    offered_algorithms,
    open_ssh,
)
from harness.links.ssh_algorithms import parse_kexinit
from harness.links.stream import StreamLink


@pytest.fixture(scope="module")
def keys(tmp_path_factory) -> dict[str, tuple[Path, str]]:
    folder = tmp_path_factory.mktemp("keys")
    return {name: (folder / name, make_key(folder / name)) for name in ("host", "user", "stranger")}


# OpenSSH


@pytest.fixture(scope="module")
def sshd(tmp_path_factory, keys) -> Iterator[int]:
    with running_sshd(tmp_path_factory.mktemp("sshd"), keys) as port:
        yield port


def dial(port: int, keys, recording, **options):
    settings = {"user": getpass.getuser(), "host_key": keys["host"][1], "timeout": 5, "key_file": keys["user"][0]}
    return open_ssh(HostDialer(), "127.0.0.1", port, name="ssh", tap=recording.tap, **(settings | options))


def test_a_shell_on_openssh(sshd, keys, recording):
    link = dial(sshd, keys, recording)
    assert isinstance(link, SshLink)
    assert link.authenticated
    shell = link.shell()
    assert isinstance(shell, StreamLink)
    shell.send(b"echo $((6*7))-done\n")
    assert shell.expect(b"42-done", since=0, timeout=5) is not None
    assert b"42-done" in recording.received()
    assert recording.sent() == b"echo $((6*7))-done\n"
    shell.send(b"exit\n")
    with pytest.raises(LinkLost):
        shell.expect(b"never", since=shell.mark(), timeout=5)
    ran = link.exec("printf out; printf err >&2")
    assert isinstance(ran, StreamLink)
    with pytest.raises(LinkLost):
        ran.expect(b"never", since=0, timeout=5)
    assert sorted(ran.read_since(0)) == sorted(b"outerr")
    link.close()
    link.close()
    assert isinstance(link.shell(), SshNoConnection)


def test_requests_are_attempts_with_an_outcome(sshd, keys, recording):
    link = dial(sshd, keys, recording)
    assert isinstance(link, SshLink)
    assert isinstance(link.forward_local("127.0.0.1", 22), SshRefused)
    assert isinstance(link.forward_remote("127.0.0.1", 0), SshRefused)
    assert isinstance(link.subsystem("sftp"), StreamLink)
    assert isinstance(link.subsystem("nonsense"), SshRefused)
    link.close()


def test_log_ins_are_refused_in_so_many_words(sshd, keys, recording):
    refused = dial(sshd, keys, recording, key_file=keys["stranger"][0])
    assert isinstance(refused, SshRefused)
    assert refused.method == "publickey"
    link = connect_ssh(
        HostDialer(), "127.0.0.1", sshd, host_key=keys["host"][1], timeout=5, name="ssh", tap=recording.tap
    )
    assert isinstance(link, SshLink)
    none = link.auth_attempt("root", "none")
    assert isinstance(none, SshRefused)
    assert set(none.allowed) == {"publickey", "password"}
    assert isinstance(link.auth_attempt("root", "password", "wrong"), SshRefused)
    assert not isinstance(link.shell(timeout=0.3), StreamLink), "not logged in"
    with pytest.raises(UsageError):
        link.auth_attempt("root", "hostbased")
    with pytest.raises(UsageError):
        link.auth_attempt("root", "publickey", Path("/nowhere"))
    link.close()


def test_a_device_that_hangs_up_after_too_many_attempts(sshd, keys, recording):
    link = connect_ssh(
        HostDialer(), "127.0.0.1", sshd, host_key=keys["host"][1], timeout=5, name="ssh", tap=recording.tap
    )
    assert isinstance(link, SshLink)
    outcomes = [link.auth_attempt("nobody", "publickey", keys["stranger"][0]) for _ in range(7)]
    assert isinstance(outcomes[0], SshRefused)
    assert isinstance(outcomes[-1], SshNoConnection)
    assert isinstance(link.lost, LinkLost)
    link.close()


def test_another_host_key_is_told_and_nothing_is_sent_to_it(sshd, keys, recording):
    seen = dial(sshd, keys, recording, host_key=keys["stranger"][1])
    assert isinstance(seen, SshHostKeyMismatch)
    assert seen.seen == keys["host"][1].strip()
    with pytest.raises(UsageError):
        dial(sshd, keys, recording, host_key="AAAA")


def test_weak_algorithms_are_seen_though_paramiko_does_not_speak_them(sshd):
    offered = offered_algorithms(HostDialer(), "127.0.0.1", sshd, timeout=3)
    assert isinstance(offered, dict)
    assert offered["identification"][0].startswith("SSH-2.0-OpenSSH")
    assert "diffie-hellman-group14-sha1" in offered["kex"]
    assert offered["host_key"] == ["ssh-ed25519"]
    notes = audit_algorithms(offered)
    weak = [note for note in notes if note.severity is Severity.FAIL]
    assert "diffie-hellman-group14-sha1" in {note.algorithm for note in weak}
    assert not [note for note in weak if note.algorithm == "ssh-ed25519"]
    assert not [note for note in notes if note.algorithm.startswith("kex-strict")]
    (unknown,) = audit_algorithms({"cipher_to_device": ["rot13"], "compression_to_device": ["none"]})
    assert unknown.severity is Severity.UNKNOWN


# A server of our own, for what OpenSSH does not do


class Server(paramiko.ServerInterface):
    def __init__(self, behave: dict[str, object]) -> None:
        self.behave = behave
        self.wait = threading.Event()

    def get_allowed_auths(self, username: str) -> str:
        return str(self.behave.get("allowed", "password,keyboard-interactive"))

    def check_auth_password(self, username: str, password: str) -> int:
        if "mute" in self.behave:
            self.wait.wait(3)
        return paramiko.AUTH_SUCCESSFUL if password == "right" else paramiko.AUTH_FAILED  # noqa: S105

    def check_auth_none(self, username: str) -> int:
        return paramiko.AUTH_SUCCESSFUL if "open" in self.behave else paramiko.AUTH_FAILED

    def check_auth_interactive(self, username: str, submethods: str):
        return paramiko.InteractiveQuery("", "", ("Password: ", False))

    def check_auth_interactive_response(self, responses: list[str]) -> int:
        return paramiko.AUTH_SUCCESSFUL if responses == ["right"] else paramiko.AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.OPEN_SUCCEEDED

    def check_channel_direct_tcpip_request(self, chanid, origin, destination) -> int:
        return paramiko.OPEN_SUCCEEDED

    def check_port_forward_request(self, address: str, port: int) -> int:
        return 4242

    def cancel_port_forward_request(self, address: str, port: int) -> None:
        return None

    def check_channel_pty_request(self, *_: object) -> bool:
        return True

    def check_channel_shell_request(self, channel: paramiko.Channel) -> bool:
        if "deaf" in self.behave:
            self.wait.wait(3)
        if "refuse" in self.behave:
            return False

        def menu() -> None:
            channel.sendall(b"menu> ")
            with contextlib.suppress(OSError):
                while data := channel.recv(100):
                    channel.sendall(data.upper())

        threading.Thread(target=menu, daemon=True).start()
        return True


@pytest.fixture
def own_server(serve, keys) -> Callable[..., int]:
    def start(**behave: object) -> int:
        def handle(connection: socket.socket) -> None:
            transport = paramiko.Transport(connection)
            transport.set_log_channel("test.quiet")
            transport.add_server_key(paramiko.Ed25519Key(filename=str(keys["host"][0])))
            with contextlib.suppress(paramiko.SSHException, EOFError):
                transport.start_server(server=Server(behave))
                transport.join(20)

        return serve(handle)

    return start


def test_passwords_and_questions(own_server, keys, recording):
    port = own_server()
    link = dial(port, keys, recording, key_file=None, password="right")
    assert isinstance(link, SshLink)
    shell = link.shell()
    assert isinstance(shell, StreamLink)
    shell.send(b"status")
    assert shell.expect(b"STATUS", since=0, timeout=2) is not None
    assert isinstance(link.forward_local("10.0.0.1", 80), SshAccepted)
    assert isinstance(link.forward_remote("127.0.0.1", 0), SshAccepted)
    link.close()
    assert isinstance(dial(port, keys, recording, key_file=None, password="wrong"), SshRefused)
    assert isinstance(dial(port, keys, recording, key_file=None), SshRefused)
    other = connect_ssh(
        HostDialer(), "127.0.0.1", port, host_key=keys["host"][1], timeout=5, name="ssh", tap=recording.tap
    )
    assert isinstance(other, SshLink)
    assert isinstance(other.auth_attempt("u", "keyboard-interactive", "wrong"), SshRefused)
    assert other.auth_attempt("u", "keyboard-interactive", "right") == SshAccepted("keyboard-interactive")
    other.close()
    open_door = dial(own_server(open=True), keys, recording, key_file=None)
    assert isinstance(open_door, SshLink), "a device that asks for nothing lets us in"
    open_door.close()


def test_silence_meets_the_deadline_everywhere(own_server, serve, keys, recording):
    started = time.monotonic()
    mute = serve(lambda connection: connection.recv(1) and connection.recv(10000) and connection.recv(10000))
    outcome = dial(mute, keys, recording, timeout=0.3)
    assert isinstance(outcome, SshNoConnection)
    half = serve(lambda connection: connection.sendall(b"SSH-2.0-dropbear\r\n") or threading.Event().wait(2))
    assert isinstance(dial(half, keys, recording, timeout=0.3), SshNoConnection)
    drip = serve(
        lambda connection: [connection.sendall(b"hello\r\n") or threading.Event().wait(0.1) for _ in range(20)]
    )
    assert isinstance(dial(drip, keys, recording, timeout=0.3), SshNoConnection)
    assert isinstance(offered_algorithms(HostDialer(), "127.0.0.1", mute, timeout=0.3), SshNoConnection)
    assert isinstance(offered_algorithms(HostDialer(), "127.0.0.1", half, timeout=0.3), SshNoConnection)
    assert time.monotonic() - started < 4

    link = connect_ssh(
        HostDialer(),
        "127.0.0.1",
        own_server(mute=True),
        host_key=keys["host"][1],
        timeout=5,
        name="ssh",
        tap=recording.tap,
    )
    assert isinstance(link, SshLink)
    started = time.monotonic()
    assert link.auth_attempt("u", "password", "right", timeout=0.3) is None
    assert time.monotonic() - started < 1
    link.close()

    link = dial(own_server(open=True, deaf=True), keys, recording, key_file=None)
    assert isinstance(link, SshLink)
    started = time.monotonic()
    assert link.shell(timeout=0.3) is None
    assert link.forward_remote("127.0.0.1", 0, timeout=0.3) is None
    assert link.forward_local("127.0.0.1", 1, timeout=0.3) is None
    assert time.monotonic() - started < 2
    link.close()


def test_a_refused_shell_and_servers_that_are_none(own_server, serve, keys, recording):
    link = dial(own_server(open=True, refuse=True), keys, recording, key_file=None)
    assert isinstance(link, SshLink)
    assert link.shell() == SshRefused("shell")
    link.close()
    rude = serve(lambda connection: connection.sendall(b"go away\r\n"))
    noise = serve(lambda connection: connection.sendall(b"SSH-2.0-x\r\n" + b"\xff" * 5000) or connection.recv(1))
    for port in (1, rude, noise):
        assert isinstance(dial(port, keys, recording, timeout=2), SshNoConnection)
        assert isinstance(offered_algorithms(HostDialer(), "127.0.0.1", port, timeout=2), SshNoConnection)


def test_a_shell_whose_server_dies_is_loss(serve, keys, recording):
    sockets: list[socket.socket] = []

    def handle(connection: socket.socket) -> None:
        sockets.append(connection)
        transport = paramiko.Transport(connection)
        transport.set_log_channel("test.quiet")
        transport.add_server_key(paramiko.Ed25519Key(filename=str(keys["host"][0])))
        transport.start_server(server=Server({"open": True}))
        transport.join(20)

    link = dial(serve(handle), keys, recording, key_file=None)
    assert isinstance(link, SshLink)
    shell = link.shell()
    assert isinstance(shell, StreamLink)
    assert shell.expect(b"menu> ", since=0, timeout=2) is not None
    assert shell.expect(b"never", since=0, timeout=0.2) is None
    started = time.monotonic()
    sockets[0].shutdown(socket.SHUT_RDWR)
    with pytest.raises(LinkLost):
        shell.expect(b"never", since=0, timeout=5)
    assert time.monotonic() - started < 1
    link.close()


# The parser


def kexinit(lists: list[list[str]]) -> bytes:
    names = [",".join(items).encode() for items in lists]
    return b"\x14" + bytes(16) + b"".join(struct.pack(">I", len(item)) + item for item in names) + bytes(5)


name_lists = st.lists(
    st.lists(st.text("abcdefghij-@.0123", min_size=1, max_size=12), max_size=5), min_size=10, max_size=10
)


@given(name_lists)
def test_a_key_exchange_message_survives(lists):
    assert list(parse_kexinit(kexinit(lists)).values()) == lists[:8]


@given(name_lists, st.integers(0, 200), st.binary(max_size=40))
def test_hostile_key_exchange_messages_are_refused_or_read(lists, cut, tail):
    with contextlib.suppress(ValueError):
        assert len(parse_kexinit(kexinit(lists)[:cut] + tail)) == 8
