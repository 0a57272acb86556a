"""The unit's own keys: as delivered (`keys/`), or new ones after a factory reset (VP1-ICD §11.1 and §14)."""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
import ssl
import tempfile
from collections.abc import Set
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

KEYS = Path(__file__).parent / "keys"
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"


def delivered(name: str) -> str:
    """The key that the unit was delivered with: `tls` (key and certificate) or `ssh`, in PEM."""
    return (KEYS / {"tls": "tls.pem", "ssh": "host_ed25519"}[name]).read_text(encoding="ascii")


def fresh(serial: str, weaknesses: Set[str], *, old: str) -> dict[str, str]:
    """New keys, by name as in `delivered`; `old` are those up to now, which by a weakness decide on them."""
    ssh, tls = ed25519.Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP256R1())
    decides = {"keys-from-serial": serial, "keys-from-old-keys": old}
    for weakness in decides.keys() & weaknesses:
        seed = hashlib.sha256(decides[weakness].encode()).digest()
        ssh, tls = ed25519.Ed25519PrivateKey.from_private_bytes(seed), _derived(seed)
    if "tls-key-shared" in weaknesses:
        tls = _derived(b"built in")
    return {
        "tls": _certified(tls, serial),
        "ssh": ssh.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode("ascii"),
    }


def _derived(seed: bytes) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(int.from_bytes(hashlib.sha256(seed).digest()) >> 1, ec.SECP256R1())


def _certified(key: ec.EllipticCurvePrivateKey, serial: str) -> str:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, serial)])
    addresses = [x509.IPAddress(ipaddress.ip_address(each)) for each in ("192.0.2.10", "2001:db8::10")]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.datetime(2026, 1, 1))
        .not_valid_after(datetime.datetime(2046, 1, 1))
        .add_extension(x509.SubjectAlternativeName(addresses), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return (private + certificate.public_bytes(Encoding.PEM)).decode("ascii")


def tls_context(pem: str) -> ssl.SSLContext:
    """The server's side of TLS as VP1-ICD §11.1 has it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET
    context.num_tickets = 0
    with tempfile.NamedTemporaryFile(mode="w", suffix=".pem") as file:  # ssl reads keys from files only
        file.write(pem)
        file.flush()
        context.load_cert_chain(file.name)
    return context
