"""HTTP/1.1 over one connection, within TLS (VP1-ICD §11.1)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from http import HTTPStatus

from console import Later, Timer
from http_message import Answer, BadArgument, Request, in_json
from mind import Mind

HEAD_LIMIT = 8 << 10
IDLE_S = 30.0
STALL_S = 10.0
"""A body of which nothing comes for so long is given up (VP1-ICD §13)."""

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - of RFC 9110, no secret
_FIRST = re.compile(rf"({_TOKEN}) ([!-~]+) HTTP/1\.([01])")
_FIELD = re.compile(rf"({_TOKEN}):[ \t]*(.*?)[ \t]*")


class HttpFraming:
    """Requests in, answers out, one after the other. What is not HTTP ends the connection after a 400."""

    def __init__(
        self,
        *,
        mind: Callable[[], Mind],
        write: Callable[[bytes], None],
        hang_up: Callable[[], None],
        later: Later,
        connection: str,
    ) -> None:
        self._mind = mind
        self._write = write
        self._hang_up = hang_up
        self._later = later
        self._connection = connection
        self._buffer = bytearray()
        self._request: Request | None = None
        self._early: Answer | None = None
        self._over = False
        self._timer: Timer = later(IDLE_S, self._end)

    def feed(self, data: bytes) -> None:
        """Bytes from the client."""
        if self._over:
            return
        self._buffer += data
        self._wait(STALL_S if self._request else IDLE_S)
        while not self._over and (self._head() if self._request is None else self._body()):
            pass

    def peer_gone(self) -> None:
        """The connection broke; a body that was under way is lost."""
        self._over = True
        self._give_up_body()

    def close(self) -> None:
        """The connection is gone, or the application."""
        self._over = True
        self._timer.cancel()

    def _wait(self, seconds: float) -> None:
        self._timer.cancel()
        self._timer = self._later(seconds, self._end)

    def _end(self) -> None:
        self._over = True
        self._timer.cancel()
        self._give_up_body()
        self._hang_up()

    def _give_up_body(self) -> None:
        request, self._request = self._request, None
        if request is not None and self._early is None:
            self._mind().api_broken(request)

    def _head(self) -> bool:
        head, end, _ = self._buffer.partition(b"\r\n\r\n")
        if len(head) > HEAD_LIMIT:
            return self._no_http(431)
        if not end:
            return False
        del self._buffer[: len(head) + len(end)]
        request = _request(head.decode("latin-1"), self._connection)
        if request is None:
            return self._no_http(400)
        self._early = self._mind().api_head(request)
        self._request = request
        if self._early is None and request.headers.get("expect", "").lower() == "100-continue":
            self._write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._wait(STALL_S if request.length else IDLE_S)
        return True

    def _body(self) -> bool:
        request = self._request
        if request is None or (len(self._buffer) < request.length and self._early is None):
            return False
        if self._early is not None:
            return self._drop(request)
        body = bytes(self._buffer[: request.length])
        del self._buffer[: request.length]
        self._request = None
        self._answer(self._mind().api(replace(request, body=body)), request)
        return True

    def _drop(self, request: Request) -> bool:
        """Let the body of a refused request go by, then answer: a client that is still sending would not listen."""
        gone = min(len(self._buffer), request.length)
        del self._buffer[:gone]
        self._request = replace(request, length=request.length - gone)
        if gone < request.length:
            return False
        answer, self._early, self._request = self._early, None, None
        assert answer is not None
        self._answer(answer, request)
        return True

    def _no_http(self, status: int) -> bool:
        answer = BadArgument().answer() if status == 400 else in_json({"error": "too large"}, status=status)
        self._write(_framed(answer, close=True))
        self._end()
        return False

    def _answer(self, answer: Answer, request: Request) -> None:
        close = request.headers.get("connection", "").lower() == "close"
        self._write(_framed(answer, close=close, with_body=request.method != "HEAD"))
        if close:
            self._end()
        else:
            self._wait(IDLE_S)


def _request(head: str, connection: str) -> Request | None:
    """The request that begins so; None where it is no HTTP."""
    first, *lines = head.lstrip("\r\n").split("\r\n")
    start = _FIRST.fullmatch(first)
    fields = [_FIELD.fullmatch(line) for line in lines]
    if start is None or not start[2].startswith("/"):
        return None
    headers: dict[str, str] = {}
    for each in fields:
        if each is None or (each[1].lower() == "content-length" and "content-length" in headers):
            return None
        headers[each[1].lower()] = each[2]
    if start[3] == "0":
        headers.setdefault("connection", "close")
    length = headers.get("content-length", "0")
    if "transfer-encoding" in headers or not re.fullmatch(r"[0-9]{1,12}", length):
        return None
    return Request(method=start[1], target=start[2], headers=headers, length=int(length), connection=connection)


def _framed(answer: Answer, *, close: bool, with_body: bool = True) -> bytes:
    lines = [
        f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}",
        f"Content-Type: {answer.kind}",
        f"Content-Length: {len(answer.body)}",
        "Cache-Control: no-store",
        *(["Connection: close"] if close else []),
    ]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin-1") + (answer.body if with_body else b"")
