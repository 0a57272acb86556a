"""HTTP/1.1 over TLS or TCP: one request, one answer, whatever the device sends; parsed by h11.

Requests are sent byte for byte as they are given. Of an answer nothing is believed: head and body are bounded, every
wait has a deadline, a redirect is an answer like any other, and the length it announces only says when it is whole.
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass
from itertools import count

import h11

from harness.capture import Tap
from harness.errors import UsageError
from harness.links.base import Deadline, LinkStalled, PeerClosed
from harness.links.bulk_tap import BulkTap
from harness.links.dialer import Dialer
from harness.links.http_trust import ClientCertificate, Trust
from harness.links.network import open_tcp
from harness.links.stream import StreamLink
from harness.links.tls import TlsFailed, TlsIdentityMismatch, TlsLink, fingerprint, open_tls

__all__ = [
    "HttpConnection",
    "HttpGarbage",
    "HttpLink",
    "HttpRequest",
    "HttpResponse",
    "HttpSilence",
]

MAX_HEAD = 32 * 1024
"""Longest head of an answer that is read, bytes."""
MAX_BODY = 3 * 1024 * 1024
"""Longest body of an answer that is read, bytes; less than what a stream remembers."""
LONG_ANSWER = 5
"""An answer that keeps coming may take this many times the time of its first byte."""
RECORDED_BODY = 1024 * 1024
"""Of a longer body that is sent, capture and journal keep length and SHA-256 instead of the bytes."""

VERDICT_WITHIN = 0.5
"""Seconds a device has to say whether a client's certificate will do, before a request is sent all the same."""

_PIECE = 16 * 1024
_INTERIM = 8
_BODIED = frozenset({b"POST", b"PUT", b"PATCH"})


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request as it goes out. `target` and `headers` are sent byte for byte, mistakes and all."""

    method: bytes
    target: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""

    def head(self, host: str) -> bytes:
        """Return request line and headers; `Host` and `Content-Length` are added where they were not given."""
        given = {name.lower() for name, _ in self.headers}
        added = [] if b"host" in given else [(b"Host", host.encode("latin-1", "replace"))]
        if not given & {b"content-length", b"transfer-encoding"} and (self.body or self.method in _BODIED):
            added.append((b"Content-Length", str(len(self.body)).encode()))
        lines = [b"%b %b HTTP/1.1" % (self.method, self.target)]
        lines += [b"%b: %b" % header for header in (*added, *self.headers)]
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def shown(self, host: str) -> bytes:
        """Return the request for the record, a long body by length and hash."""
        return self.head(host) + (self.body if len(self.body) <= RECORDED_BODY else _summary(self.body))


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A whole answer. Header names are in small letters; `raw` is head and body as they came."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    raw: bytes
    extra: bytes = b""
    """What came behind the answer without being asked for."""
    closes: bool = False
    """The connection cannot be used again."""

    def header(self, name: str) -> str | None:
        """Return the first header of that name, in any case."""
        wanted = name.lower().encode()
        return next((value.decode("latin-1") for key, value in self.headers if key == wanted), None)


@dataclass(frozen=True, slots=True)
class HttpSilence:
    """No connection, or nothing came on it in time; `reason` says which."""

    reason: str


@dataclass(frozen=True, slots=True)
class HttpGarbage:
    """Something came that is no whole answer within the bounds."""

    reason: str
    received: bytes


class HttpConnection:
    """One connection. `exchange` asks and waits; `send`, `upload` and `receive` do it in parts."""

    def __init__(self, stream: StreamLink, tap: BulkTap, *, host: str, client: ClientCertificate | None = None) -> None:
        self.client = client
        """The certificate by which the device knows who has opened it."""
        self._stream = stream
        self._tap = tap
        self._host = host
        self._read = 0
        self._used_up = False

    @property
    def reusable(self) -> bool:
        """Whether another request may be sent: the device keeps the connection open and owes no answer."""
        return not self._used_up and self._stream.lost is None and self._stream.mark() == self._read

    @property
    def certificate(self) -> bytes:
        """The certificate (DER) the device showed, empty without TLS."""
        return self._stream.certificate if isinstance(self._stream, TlsLink) else b""

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate the device showed, empty without TLS."""
        return fingerprint(self.certificate) if self.certificate else ""

    @property
    def stream(self) -> StreamLink:
        """The clear text under the connection, for what is no request."""
        return self._stream

    def exchange(
        self, request: HttpRequest, *, timeout: float, max_body: int = MAX_BODY
    ) -> HttpResponse | HttpSilence | HttpGarbage:
        """Send a request and read its answer: `timeout` seconds until its first byte."""
        self.upload(request, timeout=timeout + len(request.body) / 100_000)
        return self.receive(timeout=timeout, max_body=max_body, head=request.method == b"HEAD")

    def send(self, data: bytes, *, timeout: float = 5) -> bool:
        """Send any bytes; False when the device takes no more."""
        try:
            self._stream.send(data, timeout=timeout)
        except (PeerClosed, LinkStalled):
            self._used_up = True
            return False
        return True

    def upload(
        self,
        request: HttpRequest,
        *,
        timeout: float,
        first: int | None = None,
        pace: float | None = None,
        start: int = 0,
    ) -> int:
        """Send head and body, as far as the device takes them; return the bytes of the body that were sent.

        Args:
            request: what to send.
            timeout: seconds for all of it. A device that takes no more, or answers already, ends it before.
            first: how many bytes of the body; all when not given. The caller cuts with `close`.
            pace: bytes a second; as fast as it goes when not given.
            start: bytes of the body that an upload before this one has sent; head and they are not sent again.
        """
        deadline = Deadline(timeout)
        body = memoryview(request.body)[: len(request.body) if first is None else first]
        if first is not None and first < len(request.body):
            self._used_up = True
        tick = threading.Event()
        with self._tap.bulk(request.shown(self._host) if len(body) > RECORDED_BODY else b""):
            head = request.head(self._host)
            # A small body travels with its head: one packet, one record.
            at = start or (min(len(body), _PIECE) if pace is None else 0)
            if not start and not self.send(head + bytes(body[:at]), timeout=deadline.remaining):
                return 0
            step = _PIECE if pace is None else max(1, int(pace / 10))
            while at < len(body) and not deadline.passed and self._stream.mark() == self._read:
                piece = bytes(body[at : at + step])
                if not self.send(piece, timeout=deadline.remaining):
                    break
                at += len(piece)
                if pace is not None:
                    tick.wait(len(piece) / pace)
        self._used_up = self._used_up or at < len(request.body)
        return at

    def receive(
        self, *, timeout: float, max_body: int = MAX_BODY, head: bool = False
    ) -> HttpResponse | HttpSilence | HttpGarbage:
        """Read one answer; `head` when the request was HEAD, whose answer has no body."""
        start = self._read
        result = self._receive(timeout=timeout, max_body=max_body, head=head, start=start)
        if not isinstance(result, HttpResponse) or result.closes or result.extra:
            self._used_up = True
        return result

    def close(self) -> None:
        """Close the connection at once; the device sees it cut off whatever was under way."""
        self._stream.close()

    def _receive(
        self, *, timeout: float, max_body: int, head: bool, start: int
    ) -> HttpResponse | HttpSilence | HttpGarbage:
        parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
        parser.send(h11.Request(method=b"HEAD" if head else b"GET", target=b"/", headers=[(b"Host", b"x")]))
        parser.send(h11.EndOfMessage())
        quiet, end = Deadline(timeout), Deadline(timeout * LONG_ANSWER)
        answer: h11.Response | None = None
        body = bytearray()
        raw = bytearray()
        most = 2 * max_body + 10 * MAX_HEAD  # chunks of a byte each, with a long extension, are no end of bytes
        interim = 0
        while True:
            try:
                event = parser.next_event()
            except h11.RemoteProtocolError as error:
                return self._nothing(f"not HTTP: {error}", bytes(raw))
            if event is h11.NEED_DATA:
                if raw and end.passed:
                    return self._nothing("the answer is not whole in time", bytes(raw))
                if len(raw) > most:
                    return self._nothing(f"more than {most} bytes for a body of {len(body)}", bytes(raw))
                piece = self._next(min(quiet.remaining, end.remaining))
                if piece is None:
                    return self._nothing("silence" if not raw else "the answer is not whole in time", bytes(raw))
                if not piece and not raw:
                    return HttpSilence(f"the device closed the connection{self._why_closed}")
                raw += piece
                quiet = Deadline(timeout)
                parser.receive_data(piece)
            elif isinstance(event, h11.InformationalResponse):
                interim += 1
                if interim > _INTERIM:
                    return self._nothing("interim answers without end", bytes(raw))
            elif isinstance(event, h11.Response):
                answer = event
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > max_body:
                    return self._nothing(f"a body of more than {max_body} bytes", bytes(raw))
            elif isinstance(event, h11.EndOfMessage) and answer is not None:
                extra = bytes(parser.trailing_data[0])
                return HttpResponse(
                    status=answer.status_code,
                    headers=tuple((bytes(name), bytes(value)) for name, value in answer.headers),
                    body=bytes(body),
                    raw=bytes(raw[: len(raw) - len(extra)] if extra else raw),
                    extra=extra,
                    closes=parser.their_state is not h11.DONE,
                )
            else:
                return self._nothing("the connection ended before the answer", bytes(raw))

    @property
    def _why_closed(self) -> str:
        lost = self._stream.lost
        return f": {lost.message}" if lost is not None and "alert" in lost.message.lower() else ""

    def _next(self, timeout: float) -> bytes | None:
        """Return what comes next: None is silence, empty the end of the connection."""
        try:
            data = self._stream.read_at_least(1, since=self._read, timeout=timeout)[:_PIECE]
        except PeerClosed:
            return b""
        self._read += len(data)
        return data or None

    def _nothing(self, reason: str, received: bytes) -> HttpSilence | HttpGarbage:
        return HttpGarbage(reason, received) if received else HttpSilence(reason)


class HttpLink:
    """One HTTP server: where it is, how it is known, where everything is recorded."""

    def __init__(
        self,
        dialer: Dialer,
        *,
        host: str,
        port: int,
        name: str,
        tap: Tap,
        trust: Trust | None,
        timeout: float,
    ) -> None:
        """Open nothing yet.

        Args:
            dialer: where sockets come from.
            host: name or address.
            port: TCP port.
            name: of the link, for messages.
            tap: where the clear text is recorded; each connection on a channel of its own.
            trust: how the server is known; None for HTTP without TLS.
            timeout: seconds for connection and handshake.
        """
        self.host = host
        self.port = port
        self.name = name
        self.trust = trust
        self._dialer = dialer
        self._tap = tap
        self._timeout = timeout
        self._channels = count(1)
        self._open: list[HttpConnection] = []

    @property
    def authority(self) -> str:
        """What `Host` says: host, and port where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (80 if self.trust is None else 443) else f"{host}:{self.port}"

    def connect(
        self, *, any_certificate: bool = False, client: ClientCertificate | None = None
    ) -> HttpConnection | HttpSilence | TlsIdentityMismatch:
        """Open a connection. `any_certificate` only to look at what is shown: nothing secret may be sent then.

        Raises:
            UsageError: the file of authorities cannot be used, or `client` goes with a link without TLS.
        """
        tap = BulkTap(self._tap, channel=next(self._channels))
        try:
            stream = self._stream(tap, any_certificate=any_certificate, client=client)
        except OSError as error:
            return HttpSilence(f"no connection: {error.strerror or error}")
        if isinstance(stream, TlsIdentityMismatch):
            return stream
        if isinstance(stream, TlsFailed):
            return HttpSilence(f"no TLS: {stream.reason}")
        connection = HttpConnection(stream, tap, host=self.authority, client=client)
        self._open = [other for other in self._open if other.stream.lost is None] + [connection]
        return connection

    def close(self) -> None:
        """Close every connection that is still open."""
        for connection in self._open:
            connection.close()
        self._open.clear()

    def _stream(
        self, tap: Tap, *, any_certificate: bool, client: ClientCertificate | None
    ) -> StreamLink | TlsFailed | TlsIdentityMismatch:
        if self.trust is None:
            if client is not None:
                raise UsageError(f"link {self.name!r} has no TLS, and so no client certificates", hint="type: https")
            return open_tcp(self._dialer, self.host, self.port, name=self.name, tap=tap, timeout=self._timeout)
        pinned = None if any_certificate else self.trust.fingerprint
        context = self.trust.context(any_certificate=any_certificate, client=client)
        return open_tls(
            self._dialer,
            self.host,
            self.port,
            name=self.name,
            tap=tap,
            timeout=self._timeout,
            pinned=pinned,
            server_name=self.trust.server_name,
            context=context,
            verdict_within=VERDICT_WITHIN if client is not None else 0,
        )


def _summary(body: bytes) -> bytes:
    return f"[body of {len(body)} bytes, SHA-256 {hashlib.sha256(body).hexdigest()}]".encode()
