"""The exchange of an HTTP surface: a declared request filled in and sent, and what the answer to it means.

It knows the device file's templates and patterns; it opens no connection and keeps no session.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Literal

from harness.device.answer import Answer
from harness.device.http_values import (
    at_text,
    encoded,
    fill,
    fill_path,
    flat,
    form_of,
    matches,
    multipart_of,
    octets_of,
    parse,
    rows,
)
from harness.device.outcomes import Accepted, NoAnswer, Outcome, SessionRefused, Unintelligible
from harness.device.surface import Wiring
from harness.links.http import HttpConnection, HttpRequest, HttpResponse, HttpSilence
from harness.rig import device_file as spec_of
from harness.rig.http_surface import HttpAction, HttpRequestSpec
from harness.rig.templates import Scalar

__all__ = ["HttpExchange"]

LOG_IN_EXTRA = 2.0
"""Seconds a log-in may take longer than other requests: hashing a password takes its time on purpose."""
UPLOAD_RATE = 100_000
"""Bytes a second an upload has to reach at least, on the slowest device."""
_TOKEN = re.compile(r"[\x21-\x7e]{8,4096}")
"""What is carried in the head of every later request: no blanks, no line ends, no megabytes."""


class HttpExchange:
    """Requests and answers as the device file describes them."""

    def __init__(self, spec: spec_of.HttpSurface, wiring: Wiring) -> None:
        self._spec = spec
        self._wiring = wiring

    def log_in(self, connection: HttpConnection, user: str, password: str) -> Outcome[str]:
        """Try to log in; accepted with the token, refused says `refused`, `locked` or `full`."""
        login = self._spec.login
        request = self.filled(login, {"account": user, "password": password})
        got = self.ask(connection, request, within=self._wiring.answer_within + LOG_IN_EXTRA)
        if not isinstance(got, Accepted):
            return got
        patterns = {"accepted": login.accepted_when, "refused": login.refused_when, "locked": login.locked_when}
        patterns |= {"full": login.full_when} if login.full_when else {}
        said = [name for name, pattern in patterns.items() if matches(pattern, got.value.status, got.value.body)]
        match said:
            case ["accepted"]:
                token = self._token(got.value)
                if token and _TOKEN.fullmatch(token):
                    return Accepted(token, sent=got.sent, received=got.received)
                reason = "a token that is none" if token else "no token"
                return Unintelligible(reason, sent=got.sent, received=got.received)
            case [("refused" | "locked" | "full") as why]:
                return SessionRefused(why, got.value.status, sent=got.sent, received=got.received)
        return Unintelligible("log-in neither accepted nor refused", sent=got.sent, received=got.received)

    def filled(
        self,
        spec: HttpRequestSpec,
        values: Mapping[str, Scalar],
        *,
        octets: bytes | None = None,
        carried: bool = False,
    ) -> HttpRequest:
        """Return a declared request filled in; `carried` adds what a session's requests carry."""
        values = {"serial": self._wiring.unit_serial, **values}
        headers = {**(self._spec.login.carried if carried else {}), **spec.headers}
        body = b""
        if isinstance(spec, HttpAction) and spec.octets is not None:
            body = spec.octets.encode() if octets is None else octets
            if spec.file is not None:
                name = str(fill(spec.file.name, values))
                content, body = multipart_of(spec, values, name=name, data=body)
                headers.setdefault("Content-Type", content)
            headers.setdefault("Content-Type", "application/octet-stream")
        elif spec.form:
            body = form_of(spec.form, values)
            headers.setdefault("Content-Type", "application/x-www-form-urlencoded")
        elif spec.body is not None:
            body = encoded(fill(spec.body, values))
            headers.setdefault("Content-Type", "application/json")
        return HttpRequest(
            method=spec.method.encode(),
            target=fill_path(spec.path, values),
            headers=tuple((name.encode(), octets_of(str(fill(value, values)))) for name, value in headers.items()),
            body=body,
        )

    def ask(
        self,
        connection: HttpConnection,
        request: HttpRequest,
        *,
        within: float,
        first: int | None = None,
        pace: float | None = None,
    ) -> Outcome[HttpResponse]:
        """Send a request, or the `first` bytes of its body at `pace` bytes a second; accepted with a whole answer."""
        sent = self.shown(request)
        slow = len(request.body) / pace if pace else 0.0
        connection.upload(request, timeout=self.upload_time(request) + slow, first=first, pace=pace)
        got = connection.receive(timeout=within, head=request.method == b"HEAD")
        if isinstance(got, HttpSilence):
            return NoAnswer(got.reason, sent=sent)
        if not isinstance(got, HttpResponse):
            return Unintelligible(got.reason, sent=sent, received=got.received)
        if got.extra:
            return Unintelligible("more than one answer", sent=sent, received=got.raw + got.extra)
        return Accepted(got, sent=sent, received=got.raw)

    def judge(self, got: Accepted[HttpResponse], spec: HttpAction | None) -> Outcome[Answer]:
        """Say what an answer means, and take its values and the action's rows out of it."""
        status, body = got.value.status, got.value.body
        accepted = matches(self._spec.accepted_when, status, body)
        refused = matches(self._spec.refused_when, status, body)
        if accepted == refused:
            return Unintelligible(f"status {status}", sent=got.sent, received=got.received)
        is_json = (got.value.header("Content-Type") or "").partition(";")[0].strip().lower() == "application/json"
        value = parse(body) if is_json else None
        if refused:
            kind: Literal["refused", "denied", "over"] = "refused"
            if matches(self._spec.over_when, status, body):
                kind = "over"
            elif matches(self._spec.denied_when, status, body):
                kind = "denied"
            reason = at_text(value, self._spec.reason) if self._spec.reason else None
            return SessionRefused(reason or f"status {status}", status, sent=got.sent, received=got.received, kind=kind)
        if is_json and value is None:
            return Unintelligible("the body is no JSON", sent=got.sent, received=got.received)
        table = rows(value, spec.rows, spec.columns) if spec is not None and spec.columns else ()
        if table is None:
            return Unintelligible("the answer lacks the declared rows", sent=got.sent, received=got.received)
        lines = flat(value) if is_json else ()
        if lines is None:
            return Unintelligible("names without end", sent=got.sent, received=got.received)
        answer = Answer(lines=lines, text=body, rows=table)
        return Accepted(answer, sent=got.sent, received=got.received)

    def _token(self, response: HttpResponse) -> str | None:
        login = self._spec.login
        if login.token:
            return at_text(parse(response.body), login.token)
        for name, value in response.headers:
            if name == b"set-cookie":
                try:
                    cookie = SimpleCookie(value.decode("latin-1")).get(login.cookie)
                except CookieError:
                    continue
                if cookie is not None:
                    return cookie.value
        return None

    def shown(self, request: HttpRequest) -> bytes:
        """Return a request for the record."""
        return request.shown(self._wiring.http(self._spec.link).authority)

    def upload_time(self, request: HttpRequest) -> float:
        """Return how many seconds sending a request may take."""
        return 2 * self._wiring.answer_within + len(request.body) / UPLOAD_RATE
