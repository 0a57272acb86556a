"""An HTTP management interface as a surface: log-in, actions, log-out, all of it as the device file describes it."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from pathlib import Path

from harness.device.answer import Answer
from harness.device.arguments import fitted
from harness.device.http_digest import Digest
from harness.device.http_entrance import HttpEntrance
from harness.device.http_exchange import Credentials, HttpExchange, refused_by_alert
from harness.device.log_in import LoggedOff, LogInSurface, Session
from harness.device.outcomes import Accepted, NoAnswer, Outcome, SessionRefused
from harness.device.surface import Wiring
from harness.errors import BenchFault, UsageError
from harness.links.http import HttpConnection, HttpRequest, HttpSilence
from harness.links.http_trust import ClientCertificate, Trust, self_signed
from harness.links.tls import TlsIdentityMismatch
from harness.rig import device_file as spec_of
from harness.rig.http_surface import HttpRequestSpec
from harness.rig.templates import Scalar

__all__ = ["HttpSession", "HttpSurface"]

KEPT = 5.0
"""Seconds a connection is used again after its last answer; older ones the device may be about to close."""


class HttpSession(Session):
    """One logged-in session. Made by `HttpSurface.log_in`; close it with `log_out` or `drop`."""

    outlives_connection = True

    def __init__(
        self, surface: HttpSurface, account: str, credentials: Credentials, connection: HttpConnection
    ) -> None:
        self.surface = surface
        self.account = account
        self.credentials = credentials
        self._connection: HttpConnection | None = connection
        self._used = time.monotonic()

    @property
    def token(self) -> str:
        """What the device knows the session by; empty where it keeps none."""
        return self.credentials.token

    def do(self, action: str, *args: Scalar, octets: bytes | None = None, **named: Scalar) -> Outcome[Answer]:
        """Carry out a declared action (`Session.do`)."""
        request = self.request(action, *args, octets=octets, **named)
        return self.send(request, action=action)

    def request(self, action: str, *args: Scalar, octets: bytes | None = None, **named: Scalar) -> HttpRequest:
        """Return the request of an action without sending it, to change it and give it to `send`."""
        return self.surface.request(action, *args, octets=octets, session=self, values=named)

    def send(
        self,
        request: HttpRequest,
        *,
        action: str = "",
        first: int | None = None,
        pace: float | None = None,
        within: float | None = None,
    ) -> Outcome[Answer]:
        """Send any request as `HttpSurface.send`, on the session's connection; again where a nonce was stale."""
        digest = self.credentials.digest
        outcome: Outcome[Answer] = NoAnswer("nothing was sent")
        for _ in range(2):
            connection = self._connected()
            if isinstance(connection, NoAnswer):
                self.surface.observe(action or "request", connection)
                return connection
            outcome = self.surface.send_on(
                connection, request, action=action, first=first, pace=pace, within=within, digest=digest
            )
            self._used = time.monotonic()
            if digest is None or not digest.renewed:
                break
        return outcome

    def unknown(self) -> Outcome[object]:
        """Send the declared request that must be refused."""
        return self.send(self.surface.fill(self.surface.spec.unknown_request, session=self), action="unknown request")

    def log_out(self) -> Outcome[None]:
        """End the session in the declared way; where the device keeps none there is nothing to say."""
        asked = self.surface.spec.login.log_out
        if asked is None:
            self.drop()
            return Accepted(None)
        said = self.send(self.surface.fill(asked, session=self), action="log out")
        self.drop()
        return Accepted(None, sent=said.sent, received=said.received) if isinstance(said, Accepted) else said

    def drop(self) -> None:
        """Close the connection; the token stays as it is."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def wait_logged_off(self, *, timeout: float) -> LoggedOff | None:
        """Over HTTP nothing is said by itself.

        Raises:
            UsageError: always; ask `over` when the time has passed.
        """
        raise UsageError(f"{self.surface.name} does not announce a log-off", hint="see announces_log_off")

    def over(self, *, within: float) -> bool:
        """Read the uptime and say whether it was refused because nobody is logged in."""
        codec = self.surface.fields.get("uptime")
        if codec is None:
            raise UsageError(
                f"surface {self.surface.name} declares no field 'uptime'", hint="add it to the device file"
            )
        action = codec.action
        outcome = self.send(self.request(action), action=action, within=within)
        return isinstance(outcome, SessionRefused) and outcome.kind == "over"

    def _connected(self) -> HttpConnection | NoAnswer:
        kept = self._connection
        if kept is not None and kept.reusable and time.monotonic() - self._used < KEPT:
            return kept
        self.drop()
        made = self.surface.connect(self.credentials.certificate)
        if not isinstance(made, NoAnswer):
            self._connection = made
        return made


class HttpSurface(LogInSurface):
    """An HTTP management interface as the device file describes it."""

    announces_log_off = False

    def __init__(
        self, name: str, wiring: Wiring, *, spec: spec_of.HttpSurface, accounts: Mapping[str, spec_of.Account]
    ) -> None:
        super().__init__(name, wiring, spec=spec, accounts=accounts)
        self.spec = spec
        self._exchange = HttpExchange(spec, wiring)

    # Log-in

    def log_in(self, account: str, password: str | None = None) -> Outcome[HttpSession]:
        """Log in; without `password` with the declared one. Refused says `refused`, `locked` or `full`."""
        return self.try_log_in(account, self.accounts[account].password if password is None else password)

    def try_log_in(self, user: str, password: str) -> Outcome[HttpSession]:
        """Log in with any user name and password, on a connection of its own.

        Where people are known by a certificate, any password but the declared one stands for a certificate in that
        name which nobody has signed.
        """
        certificate = self.certificate_of(user, password)
        connection = self.connect(certificate)
        if isinstance(connection, NoAnswer):
            outcome: Outcome[HttpSession] = refused_by_alert(connection) if certificate else connection
            self._seen(f"log in {user}", outcome)
            return outcome
        outcome = self.log_in_on(connection, user, password)
        if not isinstance(outcome, Accepted):
            connection.close()
        return outcome

    def log_in_on(self, connection: HttpConnection, user: str, password: str) -> Outcome[HttpSession]:
        """Try to log in on an open connection, which stays open whatever comes of it."""
        known = self._known(connection, user, password)
        got = known
        if isinstance(known, Accepted):
            got = self._exchange.log_in(connection, user, password, known=known.value)
        outcome: Outcome[HttpSession]
        if not isinstance(got, Accepted):
            outcome = got
        else:
            for value in got.value.values.values():
                self.wiring.hide(value)
            session = HttpSession(self, user, got.value, connection)
            outcome = Accepted(session, sent=got.sent, received=got.received)
        self._seen(f"log in {user}", outcome)
        return outcome

    def certificate_of(self, user: str, password: str) -> ClientCertificate | None:
        """Return the certificate that stands for name and password; None where people are known by the password."""
        if self.spec.asks_password:
            return None
        account = self.accounts.get(user)
        if account is None or password != account.password:
            return self_signed(user)
        return ClientCertificate(
            b"\n".join(Path(file).read_bytes() for file in (account.certificate, account.certificate_key))
        )

    def _known(self, connection: HttpConnection, user: str, password: str) -> Outcome[Credentials]:
        """Return what can be said of somebody before the log-in."""
        if self.spec.login.by != "digest":
            return Accepted(Credentials(certificate=connection.client))
        # On a connection of its own: many devices close the one on which they have said 401.
        asked = self.connect()
        if isinstance(asked, NoAnswer):
            return asked
        try:
            digest = self._exchange.challenge(asked, user, password)
        finally:
            asked.close()
        return Accepted(Credentials(digest=digest.value)) if isinstance(digest, Accepted) else digest

    def enter(self) -> HttpEntrance:
        """Stand before the log-in."""
        return HttpEntrance(self)

    # Requests

    def do(self, action: str, *args: Scalar, octets: bytes | None = None, **named: Scalar) -> Outcome[Answer]:
        """Carry out a declared action without being logged in, as `setup` is."""
        return self.send(self.request(action, *args, octets=octets, values=named), action=action)

    def request(
        self,
        action: str,
        *args: Scalar,
        octets: bytes | None = None,
        session: HttpSession | None = None,
        values: Mapping[str, Scalar] | None = None,
    ) -> HttpRequest:
        """Return the request of a declared action; `values` are arguments by name. Carries the session's token.

        Raises:
            UsageError: no such action, an argument too many or too few, or bytes where none go.
        """
        spec = self.spec.actions.get(action)
        if spec is None:
            raise UsageError(f"surface {self.name} declares no action {action!r}", hint="add it to the device file")
        filled = fitted(self.name, action, spec, args=args, named=values or {})
        if octets is not None and spec.octets is None:
            raise UsageError(f"action {action} of {self.name} has no body of bytes", hint="declare `octets`")
        return self.fill(spec, filled, octets=octets, session=session)

    def fill(
        self,
        spec: HttpRequestSpec,
        values: Mapping[str, Scalar] | None = None,
        *,
        octets: bytes | None = None,
        session: HttpSession | None = None,
    ) -> HttpRequest:
        """Return a declared request filled in."""
        given = dict(values or {})
        if session is not None:
            given |= {**session.credentials.values, "account": session.account}
        return self._exchange.filled(spec, given, octets=octets, carried=session is not None)

    def send(
        self,
        request: HttpRequest,
        *,
        action: str = "",
        first: int | None = None,
        pace: float | None = None,
        within: float | None = None,
    ) -> Outcome[Answer]:
        """Send any request on a connection of its own and judge the answer.

        Args:
            request: as it goes out.
            action: declared action whose rows and time are looked for in the answer; else only a name for the record.
            first: send only so many bytes of the body, then wait for what the device says to that.
            pace: bytes of the body a second.
            within: seconds until the first byte of the answer.
        """
        connection = self.connect()
        if isinstance(connection, NoAnswer):
            self._seen(action or "request", connection)
            return connection
        try:
            return self.send_on(connection, request, action=action, first=first, pace=pace, within=within)
        finally:
            connection.close()

    def send_on(
        self,
        connection: HttpConnection,
        request: HttpRequest,
        *,
        action: str = "",
        first: int | None = None,
        pace: float | None = None,
        within: float | None = None,
        digest: Digest | None = None,
    ) -> Outcome[Answer]:
        """Send any request on an open connection, as `send`; `digest` says who it is from."""
        spec = self.spec.actions.get(action)
        time_limit = within or (spec.within if spec else None) or self.wiring.answer_within
        got = self._exchange.ask(connection, request, within=time_limit, first=first, pace=pace, digest=digest)
        outcome = self._exchange.judge(got, spec) if isinstance(got, Accepted) else got
        self._seen(action or "request", outcome)
        return outcome

    def cut(self, request: HttpRequest, *, first: int, action: str = "") -> Outcome[int]:
        """Send head and `first` bytes of the body, then cut the connection; accepted with what the device took."""
        connection = self.connect()
        outcome: Outcome[int]
        if isinstance(connection, NoAnswer):
            outcome = connection
        else:
            sent = connection.upload(request, timeout=self._exchange.upload_time(request), first=first)
            connection.close()
            outcome = Accepted(sent, sent=self._exchange.shown(request))
        self._seen(f"{action or 'request'}, cut after {first} bytes", outcome)
        return outcome

    def connect(self, certificate: ClientCertificate | None = None) -> HttpConnection | NoAnswer:
        """Open a connection, for bytes that are no request; close it. `certificate` says who opens it.

        Raises:
            BenchFault: another certificate is shown than the pinned one.
        """
        made = self.wiring.http(self.spec.link).connect(client=certificate)
        if isinstance(made, TlsIdentityMismatch):
            raise BenchFault(
                f"link {self.spec.link!r}: the certificate is not the pinned one, but {made.seen}",
                hint="compare with links.….fingerprint in the rig file; another device may be answering",
            )
        return NoAnswer(made.reason) if isinstance(made, HttpSilence) else made

    # The server's certificate

    def certificate(self) -> Outcome[bytes]:
        """Return the certificate (DER) that is shown now, whatever it is."""
        made = self.wiring.http(self.spec.link).connect(any_certificate=True)
        outcome: Outcome[bytes]
        if isinstance(made, HttpConnection):
            outcome = Accepted(made.certificate)
            made.close()
        else:
            outcome = NoAnswer(made.reason if isinstance(made, HttpSilence) else "another certificate")
        self._seen("read the certificate", outcome)
        return outcome

    def trust(self, fingerprint: str) -> None:
        """Pin another certificate until the next baseline: a device that was reset has made itself a new key."""
        self.wiring.http(self.spec.link).trust = Trust(fingerprint=fingerprint)

    # What every log-in surface does

    def words(self, outcome: Outcome[object]) -> bytes:
        """Return the answer without its date."""
        return re.sub(rb"(?im)^date:[^\r\n]*\r?\n", b"", outcome.received)

    def denied(self, outcome: Outcome[object]) -> bool | None:
        """Say whether a refusal is one for the role."""
        return isinstance(outcome, SessionRefused) and outcome.kind == "denied"

    def ended(self, outcome: Outcome[object]) -> bool | None:
        """Say whether a refusal is one for want of a log-in."""
        return isinstance(outcome, SessionRefused) and outcome.kind == "over"
