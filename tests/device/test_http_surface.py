"""An HTTP surface against a real server: log-in, actions and log-out by what a device file says, and nothing else."""

from __future__ import annotations

import dataclasses
import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
from werkzeug.formparser import parse_form_data

from harness.clean import Masker
from harness.device import make_surface
from harness.device.http import HttpSession, HttpSurface
from harness.device.outcomes import Accepted, NoAnswer, Outcome, Refused, SessionRefused, Unintelligible
from harness.errors import UsageError
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
accounts:
  ann: {role: boss, password: right-password}
  bob: {role: user, password: other-password}
links: [api]
surfaces:
  api:
    type: http
    link: api
    accounts: [ann, bob]
    login:
      method: POST
      path: /login
      body: {user: '{account}', password: '{password}'}
      accepted_when: {status: [200]}
      refused_when: {status: [401]}
      locked_when: {status: [423]}
      full_when: {status: [429]}
      TOKEN
      log_out: {method: POST, path: /logout}
    accepted_when: {status: [200, 201]}
    refused_when: {status: [400, 401, 403, 404, 422]}
    denied_when: {status: [403]}
    over_when: {status: [401]}
    reason: error
    unknown_request: {method: GET, path: /xyzzy}
    actions:
      status: {method: GET, path: /status}
      secret: {method: GET, path: /secret}
      user-list: {method: GET, path: /users, rows: users, columns: {user: name, role: role}}
      user-remove: {method: DELETE, path: '/users/{user}'}
      rate: {method: PUT, path: /rate, body: {rate: '{rate}', serial: '{serial}'}, args: {rate: 60.0}}
      restore:
        {method: PUT, path: /restore, headers: {X-Passphrase: '{passphrase}'}, octets: none, args: {passphrase: pp}}
      update-upload:
        method: POST
        path: /update
        form: {kind: 'update of {serial}'}
        file: {field: bundle, name: '{name}'}
        octets: none
      broken: {method: GET, path: /broken}
      slow: {method: GET, path: /slow, within: 0.2}
    fields:
      uptime: {action: status, name: uptime_ms, scale: 0.001}
      state: {action: status, name: inner/state}
      users: {action: user-list, name: users/name}
claims: {}
"""
BEARER = "token: token\n      carried: {Authorization: 'Bearer {token}'}"
COOKIE = "cookie: sid\n      carried: {Cookie: 'sid={token}'}"
RIG = """\
rig: toy
device: device.yaml
item: {serial: S1, grade: emulated, setup_code: label-code}
targets: [127.0.0.1]
answer_within: 1.0
links:
  api: {type: http, host: 127.0.0.1, port: PORT}
"""


def fields_of(kind: str, body: bytes) -> dict[str, str]:
    """The fields of a log-in, as JSON or as a form."""
    if kind == "application/x-www-form-urlencoded":
        return dict(parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="surrogateescape"))
    assert kind == "application/json"
    return dict(json.loads(body))


class Toy(BaseHTTPRequestHandler):
    """A device with two users, a token each, and some bad habits."""

    protocol_version = "HTTP/1.1"
    server: ToyServer

    def reply(self, status: int, body: object, **headers: str) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    def handle_all(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append((self.command, self.path, dict(self.headers), body))
        self.server.connections.add(self.client_address)
        if self.path == "/login":
            self.log_in(fields_of(self.headers["Content-Type"], body))
            return
        held = self.headers.get("Authorization", "").removeprefix("Bearer ") or self.headers.get("Cookie", "")[4:]
        user = self.server.tokens.get(held)
        match self.path:
            case _ if user is None:
                self.reply(401, {"error": "not logged in"})
            case "/logout":
                del self.server.tokens[held]
                self.reply(200, {})
            case "/status":
                self.reply(200, {"uptime_ms": 12500, "inner": {"state": "idle"}})
            case "/secret" if user != "ann":
                self.reply(403, {"error": "not permitted"})
            case "/users":
                self.reply(200, {"users": [{"name": "ann", "role": "boss"}, {"name": "bob", "role": "user"}]})
            case "/secret" | "/rate" | "/users/a%2Fb%20c":
                self.reply(200, {})
            case "/restore":
                self.reply(200 if body == b"\x00backup" else 422, {"error": "not a backup"})
            case "/update":
                length = self.headers["Content-Length"]
                given = {
                    "CONTENT_TYPE": self.headers["Content-Type"],
                    "CONTENT_LENGTH": length,
                    "REQUEST_METHOD": "POST",
                }
                _, form, files = parse_form_data({**given, "wsgi.input": BytesIO(body)})
                self.server.uploads.append((dict(form), {name: (f.filename, f.read()) for name, f in files.items()}))
                self.reply(201 if files else 422, {})
            case "/broken":
                self.reply(500, {"error": "oops"})
            case "/slow":
                self.server.hold.wait(3)
            case _:
                self.reply(404, {"error": "not found"})

    do_GET = do_POST = do_PUT = do_DELETE = handle_all  # noqa: N815

    def log_in(self, said: dict[str, str]) -> None:
        right = {"ann": "right-password", "bob": "other-password"}
        if said["user"] == "locked":
            self.reply(423, {"error": "account locked"})
        elif said["user"] == "full":
            self.reply(429, {"error": "too many sessions"})
        elif said["user"] == "tokenless":
            self.reply(200, {})
        elif said["user"] == "hostile":
            self.reply(200, {"token": said["password"]}, Set_Cookie='sid="abcdefgh\\015\\012X: 1"')
        elif said["user"] in right and right[said["user"]] == said["password"]:
            token = f"token-of-{said['user']}-{len(self.server.tokens)}"
            self.server.tokens[token] = said["user"]
            self.reply(200, {"token": token}, Set_Cookie=f"sid={token}; Secure; HttpOnly")
        else:
            self.reply(401, {"error": "login refused"})

    def log_message(self, format: str, *args: object) -> None:
        pass


class ToyServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Toy)
        self.tokens: dict[str, str] = {}
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self.uploads: list[tuple[dict[str, str], dict[str, tuple[str | None, bytes]]]] = []
        self.connections: set[object] = set()
        self.hold = threading.Event()


@pytest.fixture
def toy() -> Iterator[ToyServer]:
    server = ToyServer()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield server
    server.hold.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def seen() -> list[tuple[str, Outcome[object]]]:
    return []


@pytest.fixture(params=[(BEARER, "body"), (COOKIE, "body"), (COOKIE, "form")], ids=["bearer", "cookie", "form"])
def api(request, toy: ToyServer, tmp_path: Path, seen) -> Iterator[HttpSurface]:
    token, log_in = request.param
    (tmp_path / "device.yaml").write_text(DEVICE.replace("TOKEN", token).replace("body: {user", f"{log_in}: {{user"))
    (tmp_path / "rig.yaml").write_text(RIG.replace("PORT", str(toy.server_address[1])))
    rig = load_rig(tmp_path / "rig.yaml")
    wiring = RigWiring(rig, dialer=HostDialer(), port_of=str, break_of=lambda _: None, captures=tmp_path, prefix="t")
    wiring.observer = lambda surface, operation, outcome: seen.append((operation, outcome))
    surface = make_surface("api", wiring, device=rig.device)
    assert isinstance(surface, HttpSurface)
    yield surface
    wiring.close()


def logged_in(outcome: Outcome[HttpSession]) -> HttpSession:
    assert isinstance(outcome, Accepted), outcome
    return outcome.value


def test_a_session_from_log_in_to_log_out(api: HttpSurface, toy: ToyServer, seen):
    session = logged_in(api.log_in("ann"))
    answer = session.do("status")
    assert isinstance(answer, Accepted)
    assert answer.value.get("inner/state") == "idle"
    assert isinstance(api.read_in(session, "uptime"), Accepted)
    assert api.read_in(session, "uptime").value == 12.5
    assert api.read_in(session, "users").value == "ann, bob"
    assert session.do("user-list").value.rows == ({"user": "ann", "role": "boss"}, {"user": "bob", "role": "user"})
    assert not session.over(within=1)
    assert len(toy.connections) == 1, "one connection for the session"
    assert isinstance(session.log_out(), Accepted)
    assert toy.tokens == {}
    assert session.over(within=1)
    session.drop()
    assert [name for name, _ in seen][:2] == ["log in ann", "status"]


@pytest.mark.parametrize(
    ("user", "password", "reason"),
    [
        ("ann", "wrong", "refused"),
        ("nobody", "right-password", "refused"),
        ("locked", "x", "locked"),
        ("full", "x", "full"),
    ],
)
def test_a_log_in_that_is_refused_says_why(api: HttpSurface, user, password, reason):
    outcome = api.try_log_in(user, password)
    assert isinstance(outcome, SessionRefused)
    assert outcome.reason == reason
    assert outcome.code in (401, 423, 429)


def test_a_log_in_without_a_token_is_none(api: HttpSurface):
    assert isinstance(api.try_log_in("tokenless", "x"), Unintelligible)


@pytest.mark.parametrize("token", ["short", "abcdefgh\r\nX: 1", "abcdefgh\ud800", "x" * 5000, "with a blank"])
def test_a_token_that_is_none_is_not_sent_again(api: HttpSurface, token):
    assert isinstance(api.try_log_in("hostile", token), Unintelligible)


def test_strange_passwords_travel_whole(api: HttpSurface, toy: ToyServer):
    assert isinstance(api.try_log_in('a"b\\', "\x00\u202e{account}\udcff"), Refused)
    _, _, headers, body = toy.asked[-1]
    assert fields_of(headers["Content-Type"], body) == {"user": 'a"b\\', "password": "\x00\u202e{account}\udcff"}


def test_refusals_are_told_apart(api: HttpSurface):
    session = logged_in(api.log_in("bob"))
    denied = session.do("secret")
    assert isinstance(denied, SessionRefused)
    assert (denied.kind, denied.reason, denied.code) == ("denied", "not permitted", 403)
    assert api.denied(denied)
    assert not api.ended(denied)
    other = session.do("restore")
    assert (api.denied(other), api.ended(other), other.reason) == (False, False, "not a backup")
    without = api.do("secret")
    assert (api.denied(without), api.ended(without)) == (False, True)
    assert isinstance(session.unknown(), Refused)
    broken = session.do("broken")
    assert isinstance(broken, Unintelligible), "neither declared as accepted nor as refused"
    assert isinstance(session.do("slow"), NoAnswer)
    session.log_out()


def test_the_words_are_without_the_date(api: HttpSurface):
    outcome = api.try_log_in("ann", "wrong")
    assert b"Date: " in outcome.received
    assert b"Date: " not in api.words(outcome)
    assert b"login refused" in api.words(outcome)


def test_arguments_are_filled_in(api: HttpSurface, toy: ToyServer):
    session = logged_in(api.log_in("ann"))
    assert isinstance(session.do("rate"), Accepted)
    assert json.loads(toy.asked[-1][3]) == {"rate": 60.0, "serial": "S1"}
    session.do("rate", "7")
    assert json.loads(toy.asked[-1][3])["rate"] == "7"
    assert isinstance(session.do("user-remove", user="a/b c"), Accepted)
    assert isinstance(session.do("restore", passphrase="Pä", octets=b"\x00backup"), Accepted)
    assert toy.asked[-1][2]["X-Passphrase"].encode("latin-1").decode() == "Pä"
    for wrong in (
        lambda: session.do("nothing"),
        lambda: session.do("user-remove"),
        lambda: session.do("rate", "1", "2"),
        lambda: session.do("rate", speed=1),
        lambda: session.do("rate", octets=b""),
    ):
        with pytest.raises(UsageError):
            wrong()
    session.log_out()


@pytest.mark.parametrize("data", [b"", b"\x00bundle\r\n--\r\n", bytes(range(256)) * 300], ids=["empty", "odd", "long"])
@pytest.mark.parametrize("name", ["good.raucb", 'a"b; c.bin', "pä.bin"])
def test_a_file_is_uploaded_as_browsers_do(api: HttpSurface, toy: ToyServer, data: bytes, name: str):
    session = logged_in(api.log_in("ann"))
    assert isinstance(session.do("update-upload", octets=data, name=name), Accepted)
    form, files = toy.uploads[-1]
    assert form == {"kind": "update of S1"}
    assert files == {"bundle": (name, data)}
    with pytest.raises(UsageError):
        session.do("update-upload", octets=data)
    session.log_out()


def test_requests_can_be_changed_cut_and_raw(api: HttpSurface, toy: ToyServer):
    session = logged_in(api.log_in("ann"))
    request = session.request("restore", octets=b"x" * 100)
    changed = session.send(dataclasses.replace(request, method=b"GET", target=b"/status", body=b""))
    assert isinstance(changed, Accepted)
    count = len(toy.asked)
    cut = api.cut(request, first=10)
    assert isinstance(cut, Accepted)
    assert cut.value == 10
    stalled = session.send(request, first=50, within=0.3)
    assert isinstance(stalled, NoAnswer)
    bodies = [body for _, _, _, body in toy.asked[count:]]
    assert b"x" * 100 not in bodies
    assert isinstance(session.do("status"), Accepted), "the session goes on, on another connection"
    session.log_out()


def test_probe_and_contrast(api: HttpSurface, toy: ToyServer):
    clock = api.probe()
    assert isinstance(clock, Accepted)
    assert clock.value.uptime == 12.5
    assert isinstance(api.contrast(), Refused)
    assert toy.tokens == {}, "a probe leaves no session behind"


def test_before_log_in(api: HttpSurface, toy: ToyServer):
    with api.entrance() as prompt:
        assert isinstance(prompt.attempt("ann", "wrong"), Refused)
        assert api.ended(prompt.do("rate"))
        assert isinstance(prompt.visit("bob"), Accepted)
        assert isinstance(prompt.attempt("ann", "wrong"), Refused)
    assert toy.tokens == {}
    assert len(toy.connections) == 2, "the log-in that was accepted took its connection along"


def test_a_token_is_masked_from_its_first_use(api: HttpSurface):
    wiring = api.wiring
    wiring.masker = Masker(wiring.rig.secrets())
    session = logged_in(api.log_in("ann"))
    said = f"{session.token} right-password label-code"
    assert wiring.masker.mask(said) == "*" * len(session.token) + " " + "*" * 14 + " " + "*" * 10
    session.log_out()


def test_nobody_there_is_no_answer(api: HttpSurface, toy: ToyServer):
    toy.shutdown()
    toy.socket.close()
    assert isinstance(api.log_in("ann"), NoAnswer)
    assert isinstance(api.do("status"), NoAnswer)
    toy.socket = socket.socket()
