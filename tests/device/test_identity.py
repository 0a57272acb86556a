"""The identity of a device that lets somebody in and then does not answer, as one may that still comes up."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from harness.device import make_surface
from harness.identity import compare_identity
from harness.journal import Journal, read_journal
from harness.links.dialer import HostDialer
from harness.rig.loading import load_rig
from harness.wiring import RigWiring

DEVICE = """\
device: toy
manufacturer: T
model: T
kind: toy
version: '1'
identity: api
accounts: {ann: {role: boss, password: right-password}}
links: [api]
surfaces:
  api:
    type: http
    link: api
    accounts: [ann]
    login:
      method: POST
      path: /login
      body: {user: '{account}', password: '{password}'}
      accepted_when: {status: [200]}
      refused_when: {status: [401]}
      token: token
      carried: {Authorization: 'Bearer {token}'}
      log_out: {method: POST, path: /logout}
    accepted_when: {status: [200]}
    refused_when: {status: [401, 404]}
    denied_when: {status: [403]}
    over_when: {status: [401]}
    unknown_request: {method: GET, path: /xyzzy}
    actions: {status: {method: GET, path: /status}}
    fields:
      model: {action: status, name: model}
      serial: {action: status, name: serial}
      version: {action: status, name: version}
      uptime: {action: status, name: uptime}
claims: {}
"""
RIG = """\
rig: toy
device: device.yaml
item: {serial: S1, grade: emulated}
targets: [127.0.0.1]
answer_within: 1.0
links: {api: {type: http, host: 127.0.0.1, port: PORT}}
"""


class Toy(BaseHTTPRequestHandler):
    """Closes the connection without an answer as often as `server.silent` says of a path."""

    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.server.silent.get(self.path, 0) > 0:
            self.server.silent[self.path] -= 1
            self.close_connection = True
            return
        token = ""
        if self.path == "/login":
            self.server.log_ins += 1
            token = f"{self.server.log_ins:032x}"
            self.server.open.add(token)
        if self.path == "/logout":
            self.server.open.discard(self.headers["Authorization"].removeprefix("Bearer "))
        values = {"token": token, "model": "T", "serial": "S1", "version": "1", "uptime": 1}
        body = json.dumps(values).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()


class Server(ThreadingHTTPServer):
    """Holds what is not answered."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Toy)
        self.silent: dict[str, int] = {}
        self.log_ins = 0
        self.open: set[str] = set()


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield made
        made.shutdown()


CONSOLE = """\
    type: dialogue
    link: api
    accounts: [ann]
    login:
      user_prompt: 'login: $'
      password_prompt: 'password: $'
      accepted_when: welcome
      refused_when: wrong
      locked_when: locked
      logged_off_when: idle
      log_out: exit
    prompt: '> $'
    accepted_when: ok
    refused_when: error
    actions: {status: {send: status}}
"""


class Console(socketserver.BaseRequestHandler):
    """A console whose first command and first log-out are not answered; says which names were given at its log-in."""

    server: ConsoleServer

    def handle(self) -> None:
        silent, state, line = {b"status", b"exit"}, "name", b""
        prompts = {"name": b"login: ", "password": b"password: ", "inside": b"> "}
        while got := self.request.recv(1):
            if got != b"\r":
                line += got.strip()
                continue
            said, line = line, b""
            if state == "inside" and said in silent:
                silent.discard(said)
                continue
            answer = b""
            if state == "name" and said:
                self.server.names.append(said)
                state = "password"
            elif state == "password":
                state, answer = "inside", b"welcome\r\n"
            elif said == b"status":
                answer = b"status\r\nmodel: T\r\nserial: S1\r\nversion: 1\r\nuptime: 1\r\nok\r\n"
            elif said == b"exit":
                state = "name"
            self.request.sendall(answer + prompts[state])


class ConsoleServer(socketserver.ThreadingTCPServer):
    """A serial server with the console behind it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Console)
        self.names: list[bytes] = []


def left_open(server: socketserver.TCPServer, folder: Path, *, device: str = DEVICE, rig_text: str = RIG) -> bool:
    """Compare the identity; return whether that left a session open."""
    (folder / "device.yaml").write_text(device)
    (folder / "rig.yaml").write_text(rig_text.replace("PORT", str(server.server_address[1])))
    rig = load_rig(folder / "rig.yaml")
    journal = Journal(folder / "journal.jsonl")
    wiring = RigWiring(rig, dialer=HostDialer(), port_of=str, break_of=lambda _: None, captures=folder, prefix="t")
    try:
        surface = make_surface("api", wiring, device=rig.device)
        left = compare_identity(surface, rig, journal=journal, versions=["1"], within=10)
    finally:
        wiring.close()
        journal.close()
    assert len(read_journal(folder / "journal.jsonl").of("identity")) == 1
    return left


@pytest.mark.parametrize("silent", [{}, {"/login": 2}, {"/status": 1}], ids=["none", "log-in", "reading"])
def test_who_logged_out_has_left_nothing(server: Server, silent: dict[str, int], tmp_path: Path) -> None:
    server.silent = silent
    assert not left_open(server, tmp_path)


def test_a_session_that_was_left_open_is_ended(server: Server, tmp_path: Path) -> None:
    server.silent = {"/status": 1, "/logout": 1}
    assert not left_open(server, tmp_path)
    assert server.open == set()


def test_a_session_that_cannot_be_ended_is_no_baseline(server: Server, tmp_path: Path) -> None:
    server.silent = {"/status": 1, "/logout": 100}
    assert left_open(server, tmp_path)
    assert server.open


def test_on_a_console_nobody_logs_out_twice(tmp_path: Path) -> None:
    """The line has one session, which the next log-in has ended: a second log-out would be taken for a user's name."""
    device = DEVICE[: DEVICE.index("    type: http")] + CONSOLE + DEVICE[DEVICE.index("    fields:") :]
    rig = RIG.replace("{type: http, host: 127.0.0.1, port: PORT}", "{type: serial, port: 'socket://127.0.0.1:PORT'}")
    with ConsoleServer() as console:
        threading.Thread(target=console.serve_forever, daemon=True).start()
        assert not left_open(console, tmp_path, device=device, rig_text=rig)
        console.shutdown()
        assert console.names == [b"ann", b"ann"]
