"""What tells one certificate from another is read, and nothing of what is none."""

from __future__ import annotations

import contextlib
import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from harness.device.certificate import certificate_marks

KEY = ec.generate_private_key(ec.SECP256R1())


def made(number: int, *, key_id: bool = False) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "unit")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(KEY.public_key())
        .serial_number(number)
        .not_valid_before(datetime.datetime(2026, 1, 1))
        .not_valid_after(datetime.datetime(2046, 1, 1))
    )
    if key_id:
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(KEY.public_key()), critical=False)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(Encoding.DER)


def test_a_new_certificate_does_not_hide_an_old_key() -> None:
    first, second = certificate_marks(made(11)), certificate_marks(made(12))
    assert first["key"] == second["key"]
    assert (first["serial number"], second["serial number"]) == ("b", "c")
    assert "subject key identifier" in certificate_marks(made(13, key_id=True)).keys() - first.keys()


@pytest.mark.parametrize("der", [b"", b"\x30\x03\x02\x01\x01", made(14)[:-40], bytes(400)])
def test_what_is_no_certificate_is_a_value_error(der: bytes) -> None:
    with pytest.raises(ValueError, match="no readable certificate"):
        certificate_marks(der)


WHOLE = made(15, key_id=True)


@given(st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_damaged_certificate_is_read_or_none(damages: list[tuple[int, int]]) -> None:
    der = bytearray(WHOLE)
    for place, value in damages:
        der[place] = value
    with contextlib.suppress(ValueError):
        assert {"key", "serial number"} <= certificate_marks(bytes(der)).keys()
