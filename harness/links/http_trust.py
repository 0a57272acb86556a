"""How the two ends of HTTPS know each other: the server by fingerprint or authorities, the client by a certificate."""

from __future__ import annotations

import re
import ssl
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from harness.errors import UsageError

__all__ = ["ClientCertificate", "Trust", "self_signed"]


@dataclass(frozen=True, slots=True)
class Trust:
    """How the server is known: SHA-256 of its certificate in hexadecimal, or a file of authorities."""

    fingerprint: str | None = None
    ca_file: str | None = None
    server_name: str | None = None

    def context(self, *, any_certificate: bool = False, client: ClientCertificate | None = None) -> ssl.SSLContext:
        """Return settings for TLS by which the server is verified, unless its fingerprint decides, or nothing does.

        Raises:
            UsageError: the file of authorities cannot be used.
        """
        context = _unverified() if any_certificate or self.fingerprint else _verified(self.ca_file)
        if client is not None:
            client.load_into(context)
        return context


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """A certificate that says who the client is: `pem` holds it, its chain, and its key without passphrase."""

    pem: bytes

    def load_into(self, context: ssl.SSLContext) -> None:
        """Show it on connections of `context`.

        Raises:
            ValueError: there is no certificate in it, or no key that fits and needs no passphrase.
        """
        with tempfile.NamedTemporaryFile(prefix="proofrig-") as file:  # OpenSSL reads keys from files only
            file.write(self.pem)
            file.flush()
            try:
                context.load_cert_chain(file.name, password="")  # else it would ask on the terminal
            except (ssl.SSLError, ValueError) as error:
                reason = getattr(error, "reason", None) or error
                raise ValueError(f"no certificate with its key, without passphrase: {reason}") from None


def self_signed(name: str) -> ClientCertificate:
    """Return a certificate for `name` that nobody but its own new key has signed; valid for a day around now."""
    key = ec.generate_private_key(ec.SECP256R1())
    common = re.sub(r"[^\x20-\x7e]", "?", name)[:64] or "nobody"  # RFC 5280: at most 64 characters
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return ClientCertificate(made.public_bytes(Encoding.PEM) + secret)


def _unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _verified(ca_file: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # a missing file, or one without certificates
        raise UsageError(
            f"the file of authorities cannot be used: {error.strerror or error}",
            where=ca_file,
            hint="see ca_file of the link in the rig file",
        ) from error
