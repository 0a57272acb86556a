"""The sham's HTTP framing under arbitrary input, and waits of the API on a clock of their own."""

from __future__ import annotations

import json
from typing import Any

from http_framing import HEAD_LIMIT, HttpFraming
from http_message import Request
from hypothesis import given
from hypothesis import strategies as st
from test_parts import Bench
from users import PASSWORDS


class Connection:
    """One connection to the API of an application on virtual time."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.output = bytearray()
        self.ended = False
        self.framing = HttpFraming(
            mind=lambda: bench.mind,
            write=self.output.extend,
            hang_up=self._end,
            later=bench.time.later,
            connection="1",
        )

    def _end(self) -> None:
        self.ended = True

    def statuses(self) -> list[int]:
        return [int(each.split(b" ", 1)[0]) for each in bytes(self.output).split(b"HTTP/1.1 ")[1:]]


def ask(bench: Bench, method: str, path: str, content: object = None, *, token: str = "") -> tuple[int, Any]:
    body = b"" if content is None else json.dumps(content).encode()
    headers = {"authorization": f"Bearer {token}"}
    answer = bench.mind.api(Request(method=method, target=path, headers=headers, body=body))
    return answer.status, json.loads(answer.body)


def log_in(bench: Bench, user: str) -> str:
    content = {"user": user, "password": PASSWORDS[user].decode()}
    return str(ask(bench, "POST", "/api/login", content)[1]["token"])


def test_a_token_dies_20_s_after_its_last_request() -> None:
    bench = Bench()
    token = log_in(bench, "admin")
    for _ in range(3):
        bench.time.advance(19.0)
        assert ask(bench, "GET", "/api/status", token=token)[0] == 200
    bench.time.advance(20.1)
    bench.app.tick()
    assert "user=admin surface=api event=logout result=accepted detail=idle" in bench.app.audit.last(1)[0]
    assert ask(bench, "GET", "/api/status", token=token)[0] == 401


def test_the_delay_after_five_wrong_codes_ends_after_10_s() -> None:
    bench = Bench()
    bench.app.data.users.clear()
    code = {"code": "Label-4471-Quay", "password": "Saddle-41-Maple"}
    for _ in range(5):
        assert ask(bench, "POST", "/api/setup", {**code, "code": "x"})[0] == 401
    bench.time.advance(9.9)
    assert ask(bench, "POST", "/api/setup", code)[0] == 423
    bench.time.advance(0.2)
    assert ask(bench, "POST", "/api/setup", code)[0] == 200


def test_a_connection_without_a_request_ends_after_30_s_and_a_stalled_transfer_after_10() -> None:
    bench = Bench()
    silent, stalled = Connection(bench), Connection(bench)
    token = log_in(bench, "service")
    head = f"PUT /api/update HTTP/1.1\r\nAuthorization: Bearer {token}\r\nContent-Length: 100\r\n\r\n"
    stalled.framing.feed(head.encode())
    for _ in range(5):
        bench.time.advance(9.0)
        assert bench.app.updates.state == "receiving"
        stalled.framing.feed(b"x")
    assert silent.ended
    bench.time.advance(10.1)
    assert stalled.ended
    assert (bench.app.updates.state, bench.app.updates.detail) == ("refused", "transfer")
    assert ask(bench, "GET", "/api/update", token=token)[1]["detail"] == "transfer"


@given(st.lists(st.integers(1, 60), max_size=12))
def test_requests_are_found_in_any_pieces(sizes: list[int]) -> None:
    connection = Connection(Bench())
    body = json.dumps({"user": "operator", "password": PASSWORDS["operator"].decode()}).encode()
    stream = b"POST /api/login HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    stream += b"GET /api/status HTTP/1.1\r\n\r\nPUT /api/config HTTP/1.1\r\nContent-Length: 5\r\n\r\n12345"
    stream += b"HEAD /api/status HTTP/1.1\r\nConnection: close\r\n\r\nGET /never HTTP/1.1\r\n\r\n"
    for size in [*sizes, len(stream)]:
        connection.framing.feed(stream[:size])
        stream = stream[size:]
    assert connection.statuses() == [200, 401, 401, 401]
    assert connection.ended


@given(st.one_of(st.binary(max_size=400), st.text(max_size=200).map(str.encode)), st.booleans())
def test_any_bytes_are_answered_in_http_or_waited_for(noise: bytes, in_head: bool) -> None:
    connection = Connection(Bench())
    connection.framing.feed((b"GET /api/status HTTP/1.1\r\n" if in_head else b"") + noise + b"\r\n\r\n")
    connection.framing.feed(b"x" * (HEAD_LIMIT + 1))
    assert set(connection.statuses()) <= {400, 401, 404, 431}
    assert connection.statuses() or in_head
