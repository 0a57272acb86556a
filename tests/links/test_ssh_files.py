"""SFTP and SCP against OpenSSH's server, and against a server that lies."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import paramiko
import pytest
from ssh_daemon import make_key, running_sshd

from harness.links.dialer import HostDialer
from harness.links.ssh import SshLink, open_ssh
from harness.links.ssh_files import get_file, put_file
from harness.links.transfer_values import TransferFailed

DATA = bytes(range(256)) * 700


@pytest.fixture(scope="module")
def keys(tmp_path_factory) -> dict[str, tuple[Path, str]]:
    folder = tmp_path_factory.mktemp("keys")
    return {name: (folder / name, make_key(folder / name)) for name in ("host", "user")}


@pytest.fixture(scope="module")
def port(tmp_path_factory, keys) -> Iterator[int]:
    with running_sshd(tmp_path_factory.mktemp("sshd"), keys) as number:
        yield number


def connect(port: int, keys: dict[str, tuple[Path, str]], recording) -> SshLink:
    link = open_ssh(
        HostDialer(), "127.0.0.1", port, user="root", key_file=keys["user"][0], host_key=keys["host"][1],
        timeout=10, name="link ssh", tap=recording.tap,
    )  # fmt: skip
    assert isinstance(link, SshLink), link
    return link


@pytest.fixture
def link(port: int, keys, recording) -> Iterator[SshLink]:
    made = connect(port, keys, recording)
    yield made
    made.close()


@pytest.mark.parametrize("by", ["sftp", "scp"])
@pytest.mark.parametrize("data", [DATA, b""], ids=["some", "none"])
@pytest.mark.parametrize("name", ["bundle.bin", "a name's; $(touch x)"])
def test_a_file_goes_there_and_back(link: SshLink, recording, tmp_path: Path, by, data: bytes, name: str) -> None:
    path = tmp_path / name
    assert put_file(link, data, str(path), by=by, within=20) is None
    assert path.read_bytes() == data
    assert {entry.name for entry in tmp_path.iterdir()} <= {name, "link.cap"}
    assert get_file(link, str(path), by=by, most=len(data) + 1, within=20) == data
    assert data[:64] in recording.sent()
    assert data[:64] in recording.received()


@pytest.mark.parametrize("by", ["sftp", "scp"])
def test_what_the_server_does_not_do_is_refused(link: SshLink, tmp_path: Path, by) -> None:
    for failed in (
        get_file(link, str(tmp_path / "missing"), by=by, most=10, within=10),
        get_file(link, str(tmp_path), by=by, most=10, within=10),
        put_file(link, b"x", str(tmp_path / "no" / "folder"), by=by, within=10),
    ):
        assert isinstance(failed, TransferFailed)
        assert failed.kind == "refused", failed
        assert failed.reason


@pytest.mark.parametrize("by", ["sftp", "scp"])
def test_a_file_that_is_too_long_is_not_taken(link: SshLink, tmp_path: Path, by) -> None:
    (tmp_path / "log").write_bytes(DATA)
    failed = get_file(link, str(tmp_path / "log"), by=by, most=1000, within=10)
    assert isinstance(failed, TransferFailed)
    assert failed.kind == "broken"
    assert "1000" in failed.reason
    endless = get_file(link, "/dev/zero", by=by, most=1000, within=10)
    assert isinstance(endless, TransferFailed)


# A server that lies


class Liar(paramiko.ServerInterface):
    """Lets everybody in, grants every request, and says what it was told to."""

    def __init__(self, say: Callable[[paramiko.Channel], None]) -> None:
        self._say = say

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:  # noqa: ARG002
        return paramiko.AUTH_SUCCESSFUL

    def check_channel_request(self, kind: str, chanid: int) -> int:  # noqa: ARG002
        return paramiko.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:  # noqa: ARG002
        threading.Thread(target=self._speak, args=(channel,), daemon=True).start()
        return True

    def check_channel_subsystem_request(self, channel: paramiko.Channel, name: str) -> bool:  # noqa: ARG002
        return self.check_channel_exec_request(channel, b"")

    def _speak(self, channel: paramiko.Channel) -> None:
        with contextlib.suppress(OSError, EOFError):
            self._say(channel)


@pytest.fixture
def lying(serve, keys, recording) -> Iterator[Callable[[Callable[[paramiko.Channel], None]], SshLink]]:
    opened: list[SshLink] = []
    transports: list[paramiko.Transport] = []

    def start(say: Callable[[paramiko.Channel], None]) -> SshLink:
        def handler(connection: socket.socket) -> None:
            transport = paramiko.Transport(connection)
            transports.append(transport)
            transport.add_server_key(paramiko.PKey.from_path(str(keys["host"][0])))
            transport.start_server(server=Liar(say))
            transport.join(20)

        opened.append(connect(serve(handler), keys, recording))
        return opened[-1]

    yield start
    for link in opened:
        link.close()
    for transport in transports:
        transport.close()


def endlessly(piece: bytes) -> Callable[[paramiko.Channel], None]:
    def say(channel: paramiko.Channel) -> None:
        while not channel.closed:
            channel.sendall(piece)

    return say


SAYINGS: dict[str, tuple[Callable[[paramiko.Channel], None], set[str]]] = {
    "nothing": (lambda channel: None, {"silent"}),
    "hangs up": (lambda channel: channel.close(), {"cancelled", "refused", "silent"}),
    "zeros without end": (endlessly(bytes(4096)), {"broken"}),
    "random": (endlessly(b"\x00\x00\x00\x09\x65\x00\x00\x00\x01\xff\xff\xff\xff"), {"broken", "refused"}),
    "a directory": (lambda channel: channel.sendall(b"D0777 0 ../../x\n"), {"broken"}),
    "a long file": (lambda channel: channel.sendall(b"C0644 99999999999999999 x\n"), {"broken"}),
    "a short file": (lambda channel: channel.sendall(b"C0644 500 x\nabc"), {"broken"}),
    "a line without end": (endlessly(b"C"), {"broken"}),
    "no text": (lambda channel: channel.sendall(b"\x01\xff\xfe\x1b[2J\n"), {"refused", "broken"}),
}


@pytest.mark.parametrize("saying", SAYINGS)
@pytest.mark.parametrize("by", ["sftp", "scp"])
def test_a_lying_server_is_over_in_time_and_leaves_nothing(lying, tmp_path: Path, monkeypatch, by, saying: str) -> None:
    say, kinds = SAYINGS[saying]
    monkeypatch.chdir(tmp_path)
    for failed in (
        get_file(lying(say), "x", by=by, most=1000, within=1.5),
        put_file(lying(say), DATA, "x", by=by, within=1.5),
    ):
        assert isinstance(failed, TransferFailed)
        assert failed.kind in kinds | ({"broken"} if by == "sftp" else set()), failed
    assert {entry.name for entry in tmp_path.iterdir()} == {"link.cap"}
