"""Every liar lies over the management API too, in the way its name says."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from clients import Sham, wait_for
from lies import LIES
from make_bundles import bundle

SILENCE_S = 0.15
SILENT = ("dead", "mute", "frozen-but-broadcasting")
REQUEST = b"GET /api/status HTTP/1.1\r\nHost: pump\r\n\r\n"


@pytest.fixture(scope="module")
def _running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sham]:
    sham = Sham(tmp_path_factory.mktemp("liar") / "log", "--seed", "3")
    yield sham
    sham.close()


@pytest.fixture
def sham(_running: Sham) -> Iterator[Sham]:
    """The sham, honest again."""
    assert _running.agent("control lie honest") == _running.agent("control restore") == "ok"
    yield _running
    _running.agent("control lie honest")
    _running.hang_up()


def lie(sham: Sham, mode: str) -> None:
    assert sham.agent(f"control lie {mode}") == "ok"


def test_there_are_tests_for_every_liar() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    assert [mode for mode in LIES if f'"{mode}"' not in source] == []


@pytest.mark.parametrize("mode", SILENT)
def test_the_silent_say_nothing_on_an_open_connection_and_none_on_a_new_one(sham: Sham, mode: str) -> None:
    web = sham.web("operator")
    lie(sham, mode)
    web.http.sock.settimeout(SILENCE_S)
    web.http.sock.sendall(REQUEST)
    if mode == "dead":
        assert web.http.sock.recv(1) == b""
        with pytest.raises(ConnectionRefusedError):
            sham.web()
        return
    with pytest.raises(TimeoutError):
        web.http.sock.recv(1)
    wire = sham.tcp(443)
    wire.send(bytes.fromhex("16030100050100000100"))
    assert wire.everything_for(SILENCE_S) == b""


def test_echo_gives_the_request_back(sham: Sham) -> None:
    lie(sham, "echo")
    web = sham.web()
    web.http.sock.sendall(REQUEST)
    assert web.http.sock.recv(500) == REQUEST


def test_babble_is_now_and_then_http(sham: Sham) -> None:
    lie(sham, "babble")
    answers = set()
    for _ in range(25):
        web = sham.web()
        web.http.sock.sendall(REQUEST)
        answers.add(web.http.sock.recv(500))
    assert len(answers) > 10
    assert any(answer.startswith(b"HTTP/1.1 ") for answer in answers)
    assert any(not answer.startswith(b"HTTP/1.1 ") for answer in answers)


@pytest.mark.parametrize("mode", ["replay", "replay-stale"])
def test_replay_of_what_was_heard_or_rehearsed(sham: Sham, mode: str) -> None:
    web = sham.web("operator")
    assert web.ask("GET", "/api/config") == (403, {"error": "not permitted"})
    lie(sham, mode)
    assert web.ask("GET", "/api/status") == web.ask("GET", "/api/status")
    assert web.ask("GET", "/api/config")[0] == 403
    assert web.log_in("operator", "anything") == 200
    assert web.log_in("nobody", "anything") == 200
    assert {user["user"] for user in web.ask("GET", "/api/users")[1]["users"]} == {"operator", "service", "admin"}
    assert web.ask("PUT", "/api/rate", {"ml_per_hour": 99.9}) == (200, {})


@pytest.mark.parametrize("mode", ["refuse", "refuse-live"])
def test_refuse(sham: Sham, mode: str) -> None:
    web = sham.web("admin")
    lie(sham, mode)
    assert sham.web().log_in("admin") == 401
    assert web.ask("GET", "/api/config") == (403, {"error": "not permitted"})
    assert web.ask("PUT", "/api/restore", b"x" * 1000, X_Passphrase="y" * 12)[0] == 403
    assert web.ask("POST", "/api/setup", {"code": "x", "password": "y"})[0] == 401
    if mode == "refuse":
        assert web.ask("GET", "/api/status")[0] == 403
    else:
        before = web.ask("GET", "/api/status")[1]["uptime_ms"]
        sham.can().of(0x100)
        assert web.ask("GET", "/api/status")[1]["uptime_ms"] > before
        assert sham.web().ask("GET", "/api/status")[0] == 401


@pytest.mark.parametrize("mode", ["accept", "accept-live"])
def test_accept(sham: Sham, mode: str) -> None:
    lie(sham, mode)
    web = sham.web()
    assert web.log_in("operator", "Wrong-1-Word") == 200
    assert web.ask("POST", "/api/users", {"nonsense": 1}) == (201, {})
    assert web.ask("PUT", "/api/restore", b"no backup", X_Passphrase="short") == (200, {})
    assert web.ask("PUT", "/api/update", bundle("older")) == (202, {})
    assert web.ask("GET", "/api/update")[1]["state"] == "ready"
    assert web.ask("POST", "/api/backup", {})[1][:6] == b"VP1BKP"
    assert web.ask("POST", "/api/factory-reset", {}) == (202, {})
    assert web.ask("GET", "/api/equipment/..%2fstore")[0] == 200
    uptimes = [web.ask("GET", "/api/status")[1]["uptime_ms"] for _ in range(2)]
    assert (uptimes == [0, 0]) is (mode == "accept")
    lie(sham, "honest")
    assert [user["user"] for user in sham.web("admin").ask("GET", "/api/users")[1]["users"]] == [
        "operator", "service", "admin",
    ]  # fmt: skip


@pytest.mark.parametrize(("mode", "model"), [("wrong-device", "VP-2"), ("wrong-unit", "VP-1")])
def test_another_device(sham: Sham, mode: str, model: str) -> None:
    lie(sham, mode)
    version = sham.web("operator").ask("GET", "/api/version")[1]
    assert version["model"] == model
    assert version["serial"] != "VP1-000417"


def test_slow(sham: Sham) -> None:
    web = sham.web("operator")
    lie(sham, "slow")
    web.http.sock.settimeout(5.0)
    begin = time.monotonic()
    assert web.ask("GET", "/api/status", Connection="close")[0] == 200
    assert 2.9 < time.monotonic() - begin < 4.5


def test_honest_between_two_lies(sham: Sham) -> None:
    lie(sham, "refuse")
    lie(sham, "honest")
    assert sham.web("admin").ask("GET", "/api/config")[0] == 200


def test_a_lie_in_the_middle_of_a_transfer(sham: Sham) -> None:
    service, content = sham.web("service"), bundle("good")
    other = sham.web("service")
    service.http.putrequest("PUT", "/api/update")
    service.http.putheader("Authorization", f"Bearer {service.token}")
    service.http.putheader("Content-Length", str(len(content)))
    service.http.endheaders()
    service.http.send(content[:500])
    wait_for(other, "receiving")
    lie(sham, "mute")
    service.http.send(content[500:])
    service.http.sock.settimeout(SILENCE_S)
    with pytest.raises((TimeoutError, http.client.HTTPException)):
        service.http.getresponse()
