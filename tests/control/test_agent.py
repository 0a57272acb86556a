"""The agent's client against a peer on a real socket."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.control.agent import BenchAgent
from harness.errors import ControlFault


class Peer:
    """Answers each line as told; an answer None is silence."""

    def __init__(self, path: Path) -> None:
        self.answers: dict[str, list[str | None]] = {}
        self.requests: list[str] = []
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        connection, _ = self._server.accept()
        with connection, connection.makefile("r") as lines:
            for line in lines:
                request = line.rstrip("\n")
                self.requests.append(request)
                told = self.answers.get(request.split()[0], ["error"])
                answer = told.pop(0) if len(told) > 1 else told[0]
                if answer is not None:
                    connection.sendall(answer.encode())

    def end(self) -> None:
        self._thread.join(5)
        self._server.close()


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[Peer]:
    peer = Peer(tmp_path / "agent")
    yield peer
    peer.end()


def test_refresh(peer: Peer, tmp_path: Path) -> None:
    peer.answers = {"reseed": ["ok\n"], "clock": ["ok\n"], "weaknesses": ["weaknesses: b,a\n"]}
    with BenchAgent(tmp_path / "agent") as agent:
        assert agent.refresh() == frozenset({"a", "b"})
        agent.reseed()
    first, clock, _, second = peer.requests
    assert len(first.split()[1]) == 64
    assert first != second
    assert float(clock.split()[1]) > 1.7e9


@pytest.mark.parametrize("answer", ["weaknesses: -\n", "weaknesses:\n", "weaknesses: \r\n"])
def test_no_weaknesses(peer: Peer, tmp_path: Path, answer: str) -> None:
    peer.answers = {"weaknesses": [answer]}
    with BenchAgent(tmp_path / "agent") as agent:
        assert agent.weaknesses() == frozenset()


def test_a_lost_ping_is_repeated_and_a_late_answer_skipped(peer: Peer, tmp_path: Path) -> None:
    peer.answers = {"ping": [None, "pong\npong\n"], "sync": ["ok\n"]}
    with BenchAgent(tmp_path / "agent") as agent:
        agent.ping()
        agent.sync()
    assert peer.requests == ["ping", "ping", "sync"]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (None, "did not answer 'sync' within 0.2 s"),
        ("error\n", "answered 'sync' with 'error'"),
        ("x" * 5000, "endless line"),
    ],
)
def test_anything_else_is_a_control_fault(peer: Peer, tmp_path: Path, answer: str | None, message: str) -> None:
    peer.answers = {"sync": [answer], "ping": [None]}
    with BenchAgent(tmp_path / "agent", timeout=0.2) as agent, pytest.raises(ControlFault, match=message):
        agent.sync()


def test_no_port(tmp_path: Path) -> None:
    with pytest.raises(ControlFault, match="cannot be opened"):
        BenchAgent(tmp_path / "agent")
