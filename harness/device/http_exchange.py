"""The exchange of an HTTP surface: a declared request filled in and sent, and what the answer to it means.

It knows the device file's templates and patterns; it opens no connection and keeps no session.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from harness.device.answer import Answer
from harness.device.http_digest import Digest
from harness.device.http_values import (
    at_text,
    encoded,
    fill,
    fill_path,
    flat,
    form_of,
    matches,
    multipart_of,
    named_values,
    octets_of,
    parse,
    rows,
    taken,
)
from harness.device.outcomes import Accepted, NoAnswer, Outcome, SessionRefused, Unintelligible
from harness.device.surface import Wiring
from harness.links.http import HttpConnection, HttpRequest, HttpResponse, HttpSilence
from harness.links.http_trust import ClientCertificate
from harness.rig import device_file as spec_of
from harness.rig.http_surface import HttpAction, HttpPage, HttpRequestSpec, HttpTaken
from harness.rig.templates import Scalar

__all__ = ["Credentials", "HttpExchange", "refused_by_alert"]

LOG_IN_EXTRA = 2.0
"""Seconds a log-in may take longer than other requests: hashing a password takes its time on purpose."""
UPLOAD_RATE = 100_000
"""Bytes a second an upload has to reach at least, on the slowest device."""
SHORTEST_TOKEN = 8
"""Characters; what is shorter is no token, and masking it would mask any text."""
_CARRIED = re.compile(r"[\x21-\x7e]{1,4096}")
"""What is carried in the head of every later request: no blanks, no line ends, no megabytes."""
_REFUSED_CERTIFICATE = re.compile(
    r"(?i)ALERT_(?:BAD_CERTIFICATE|UNSUPPORTED_CERTIFICATE|CERTIFICATE_\w+|UNKNOWN_CA|ACCESS_DENIED|HANDSHAKE_FAILURE)"
)
"""Alerts (RFC 8446, 6.2) by which a server refuses a client's certificate, as OpenSSL names them."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a session's requests carry: values by name for the headers `carried`, a digest, or a certificate."""

    values: Mapping[str, str] = field(default_factory=dict)
    digest: Digest | None = None
    certificate: ClientCertificate | None = None

    @property
    def token(self) -> str:
        """What the device knows the session by; empty where it keeps none."""
        return self.values.get("token", "")


def refused_by_alert(silence: NoAnswer) -> SessionRefused | NoAnswer:
    """Return the refusal of a client's certificate, if it is an alert that ended the connection; else the silence."""
    if not _REFUSED_CERTIFICATE.search(silence.reason):
        return silence
    return SessionRefused("refused", sent=silence.sent, received=silence.received)


class HttpExchange:
    """Requests and answers as the device file describes them."""

    def __init__(self, spec: spec_of.HttpSurface, wiring: Wiring) -> None:
        self._spec = spec
        self._wiring = wiring

    def log_in(
        self, connection: HttpConnection, user: str, password: str, *, known: Credentials
    ) -> Outcome[Credentials]:
        """Try to log in; accepted with what later requests carry, refused says `refused`, `locked` or `full`.

        `known` is what can be said before: a digest with its challenge, the certificate of the connection.
        """
        login = self._spec.login
        page: Outcome[Mapping[str, str]] = self._before(connection, login.before) if login.before else Accepted({})
        if not isinstance(page, Accepted):
            return page
        values = {**page.value, "account": user, "password": password}
        if login.by == "basic":
            known = Credentials({"token": b64encode(octets_of(f"{user}:{password}")).decode()})
            self._wiring.hide(known.token)
        request = self.filled(login, {**values, **known.values}, carried=login.by == "basic")
        within = self._wiring.answer_within + LOG_IN_EXTRA
        got = self.ask(connection, request, within=within, digest=known.digest)
        if not isinstance(got, Accepted):
            return refused_by_alert(got) if isinstance(got, NoAnswer) and known.certificate else got
        patterns = {"accepted": login.accepted_when, "refused": login.refused_when}
        patterns |= {"locked": login.locked_when} if login.locked_when else {}
        patterns |= {"full": login.full_when} if login.full_when else {}
        said = [name for name, pattern in patterns.items() if matches(pattern, got.value)]
        match said:
            case ["accepted"] if not login.keeps_sessions:
                return Accepted(known, sent=got.sent, received=got.received)
            case ["accepted"]:
                given = self._taken({"token": login.held, **login.take}, got)
                if not isinstance(given, Accepted):
                    return given
                return Accepted(Credentials(given.value), sent=got.sent, received=got.received)
            case [("refused" | "locked" | "full") as why]:
                return SessionRefused(why, got.value.status, sent=got.sent, received=got.received)
        return Unintelligible("log-in neither accepted nor refused", sent=got.sent, received=got.received)

    def challenge(self, connection: HttpConnection, user: str, password: str) -> Outcome[Digest]:
        """Ask without saying who it is, for the challenge that a digest answers."""
        got = self.ask(connection, self.filled(self._spec.login, {"account": user}), within=self._wiring.answer_within)
        if not isinstance(got, Accepted):
            return got
        digest = Digest(user, password)
        if digest.read(got.value):
            return Accepted(digest, sent=got.sent, received=got.received)
        return Unintelligible("no digest challenge that is known here", sent=got.sent, received=got.received)

    def _before(self, connection: HttpConnection, page: HttpPage) -> Outcome[Mapping[str, str]]:
        """Ask for the page before the log-in, and take out of it what that needs."""
        got = self.ask(connection, self.filled(page, {}), within=self._wiring.answer_within)
        return self._taken(page.take, got) if isinstance(got, Accepted) else got

    def _taken(self, wanted: Mapping[str, HttpTaken], got: Accepted[HttpResponse]) -> Outcome[Mapping[str, str]]:
        values = {name: taken(what, got.value) for name, what in wanted.items()}
        lacking = [name for name, value in values.items() if not value]
        least = {"token": SHORTEST_TOKEN}
        odd = [
            name
            for name, value in values.items()
            if value and not (_CARRIED.fullmatch(value) and len(value) >= least.get(name, 1))
        ]
        if lacking or odd:
            reason = f"no {lacking[0]} in the answer" if lacking else f"a {odd[0]} that is none"
            return Unintelligible(reason, sent=got.sent, received=got.received)
        return Accepted({name: value for name, value in values.items() if value}, sent=got.sent, received=got.received)

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
        login = self._spec.login
        always = {"Authorization": "Basic {token}"} if login.by == "basic" else login.carried
        headers = {**(always if carried else {}), **spec.headers}
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
        digest: Digest | None = None,
    ) -> Outcome[HttpResponse]:
        """Send a request, or the `first` bytes of its body at `pace` bytes a second; accepted with a whole answer.

        `digest` says who it is from, and takes the challenge of the answer if there is one.
        """
        if digest is not None:
            request = digest.signed(request)
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
        if digest is not None:
            digest.read(got)
        return Accepted(got, sent=sent, received=got.raw)

    def judge(self, got: Accepted[HttpResponse], spec: HttpAction | None) -> Outcome[Answer]:
        """Say what an answer means, and take its values and the action's rows out of it."""
        status, body = got.value.status, got.value.body
        accepted = matches(self._spec.accepted_when, got.value)
        refused = matches(self._spec.refused_when, got.value)
        if accepted == refused:
            return Unintelligible(f"status {status}", sent=got.sent, received=got.received)
        is_json = (got.value.header("Content-Type") or "").partition(";")[0].strip().lower() == "application/json"
        value = parse(body) if is_json else None
        if refused:
            kind: Literal["refused", "denied", "over"] = "refused"
            if matches(self._spec.over_when, got.value):
                kind = "over"
            elif matches(self._spec.denied_when, got.value):
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
        answer = Answer(lines=(*lines, *named_values(got.value)), text=body, rows=table)
        return Accepted(answer, sent=got.sent, received=got.received)

    def shown(self, request: HttpRequest) -> bytes:
        """Return a request for the record."""
        return request.shown(self._wiring.http(self._spec.link).authority)

    def upload_time(self, request: HttpRequest) -> float:
        """Return how many seconds sending a request may take."""
        return 2 * self._wiring.answer_within + len(request.body) / UPLOAD_RATE
