"""TLS over a connected socket, by the standard library, with one lock instead of two threads in OpenSSL."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import ssl
import threading
from dataclasses import dataclass

from harness.capture import Tap
from harness.links.base import Deadline, PeerClosed
from harness.links.descriptors import DescriptorTransport, socket_transport
from harness.links.dialer import Dialer, connect
from harness.links.stream import StreamLink

__all__ = ["TlsFailed", "TlsIdentityMismatch", "TlsLink", "fingerprint", "open_tls"]

_READ_SIZE = 65536


@dataclass(frozen=True, slots=True)
class TlsFailed:
    """The handshake did not come about; `reason` says why (an alert, a refused certificate, no answer)."""

    reason: str


@dataclass(frozen=True, slots=True)
class TlsIdentityMismatch:
    """The device showed another certificate than the pinned one; `seen` is its SHA-256 in hexadecimal."""

    seen: str


def fingerprint(certificate: bytes) -> str:
    """Return the SHA-256 of a DER certificate in lower-case hexadecimal."""
    return hashlib.sha256(certificate).hexdigest()


class TlsTransport:
    """The clear text of a TLS connection."""

    def __init__(self, below: DescriptorTransport, context: ssl.SSLContext, *, server_name: str | None) -> None:
        self._below = below
        self._lock = threading.Lock()
        self._from_peer, self._to_peer = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._from_peer, self._to_peer, server_hostname=server_name)

    def handshake(self, *, timeout: float) -> None:
        """Shake hands within `timeout` seconds.

        Raises:
            ssl.SSLError: the peer or the certificate will not do.
            TimeoutError: no answer in time.
            LinkLost: the peer hung up.
        """
        deadline = Deadline(timeout)
        while True:
            try:
                self._tls.do_handshake()
                self._flush(timeout=timeout)
                return
            except ssl.SSLWantReadError:
                self._flush(timeout=timeout)
            except ssl.SSLError:
                with contextlib.suppress(PeerClosed):
                    self._flush(timeout=timeout)  # the alert that tells the device why
                raise
            if deadline.passed:
                raise TimeoutError(f"no handshake within {timeout:g} s")
            self._from_peer.write(self._below.read(deadline.remaining))

    def await_verdict(self, *, timeout: float) -> None:
        """Wait in TLS 1.3 for what the peer says first: its verdict on our certificate comes after the handshake.

        It stays to be read: a ticket, data, or the alert that says no, which a reset could take away with it later.

        Raises:
            LinkLost: the peer hung up without a word.
        """
        if self._tls.version() == "TLSv1.3":
            self._from_peer.write(self._below.read(timeout))

    def session(self) -> tuple[bytes, str, str]:
        """Return the peer's certificate (DER), the protocol version and the cipher suite."""
        cipher = self._tls.cipher()
        certificate = self._tls.getpeercert(binary_form=True)
        return certificate or b"", self._tls.version() or "", cipher[0] if cipher else ""

    def read(self, timeout: float) -> bytes:
        """Return clear text that arrives within `timeout` seconds; raises PeerClosed when TLS ends."""
        deadline = Deadline(timeout)
        while True:
            with self._lock:
                try:
                    data = self._tls.read(_READ_SIZE)
                    if data:
                        return data
                    raise PeerClosed("the peer ended TLS")
                except ssl.SSLWantReadError:
                    self._flush(timeout=1.0)  # a key update may have to be answered
                except ssl.SSLError as error:
                    raise PeerClosed(f"TLS ended: {error.reason or error}") from error
            raw = self._below.read(deadline.remaining)
            if not raw:
                return b""
            with self._lock:
                self._from_peer.write(raw)

    def write(self, data: bytes, timeout: float) -> None:
        """Encrypt and hand over `data`; raises as `Transport.write`."""
        with self._lock:
            try:
                self._tls.write(data)
            except ssl.SSLError as error:
                raise PeerClosed(f"TLS ended: {error.reason or error}") from error
            self._flush(timeout=timeout)

    def close(self) -> None:
        """Close the connection without waiting for the peer."""
        self._below.close()

    def _flush(self, *, timeout: float) -> None:
        if self._to_peer.pending:
            self._below.write(self._to_peer.read(), timeout)


class TlsLink(StreamLink):
    """A stream under TLS. `certificate` is DER, `version` and `cipher` are what was agreed."""

    def __init__(self, name: str, transport: TlsTransport, tap: Tap, *, channel: int = 0) -> None:
        self.certificate, self.version, self.cipher = transport.session()
        super().__init__(name, transport, tap, channel=channel)


def open_tls(
    dialer: Dialer,
    host: str,
    port: int,
    *,
    name: str,
    tap: Tap,
    timeout: float,
    pinned: str | None = None,
    ca_file: str | None = None,
    server_name: str | None = None,
    context: ssl.SSLContext | None = None,
    verdict_within: float = 0,
    channel: int = 0,
) -> TlsLink | TlsFailed | TlsIdentityMismatch:
    """Connect and shake hands; the clear text is recorded.

    The device is known by `pinned` (SHA-256 of its certificate, hexadecimal, colons allowed) or by a
    `ca_file`; with neither, by the system's authorities. A `context` of the caller's is taken as it is, for
    old devices or client certificates; `pinned` still holds. With a client certificate `verdict_within` gives the
    device so many seconds to say first whether it will do.

    Raises:
        ConnectionRefusedError, TimeoutError, OSError: as `connect`.
    """
    if context is None:
        context = ssl.create_default_context(cafile=ca_file)
        if pinned is not None:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE  # the pin decides
    deadline = Deadline(timeout)
    sock: socket.socket = connect(dialer, host, port, timeout=timeout)
    below = socket_transport(sock, what=name)
    try:
        transport = TlsTransport(below, context, server_name=server_name or host)
        transport.handshake(timeout=deadline.remaining)
        if verdict_within:
            transport.await_verdict(timeout=verdict_within)
    except (ssl.SSLError, TimeoutError, PeerClosed, ValueError) as error:
        below.close()
        return TlsFailed(getattr(error, "verify_message", None) or getattr(error, "reason", None) or str(error))
    seen = fingerprint(transport.session()[0])
    if pinned is not None and seen != pinned.replace(":", "").lower():
        below.close()
        return TlsIdentityMismatch(seen)
    return TlsLink(name, transport, tap, channel=channel)
