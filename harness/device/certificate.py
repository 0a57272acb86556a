"""What a certificate says that a device shows: its key, and what else tells one certificate from another."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

__all__ = ["certificate_marks"]


def certificate_marks(der: bytes) -> Mapping[str, str]:
    """Return the key of a certificate (SHA-256), its serial number, and its subject key identifier if it has one.

    Raises:
        ValueError: it is none that can be read.
    """
    try:
        certificate = x509.load_der_x509_certificate(der)
        key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        extensions = certificate.extensions
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion, x509.DuplicateExtension) as error:
        raise ValueError(f"no readable certificate: {error}") from error
    marks = {"key": hashlib.sha256(key).hexdigest(), "serial number": f"{certificate.serial_number:x}"}
    for extension in extensions:
        if isinstance(extension.value, x509.SubjectKeyIdentifier):
            marks["subject key identifier"] = extension.value.digest.hex()
    return marks
