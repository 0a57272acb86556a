"""Pseudonyms that hide nobody are recognised, drawn ones are let pass."""

from __future__ import annotations

import base64
import hashlib
import hmac
import random
import secrets
import uuid
import zlib
from collections.abc import Callable

import pytest

from harness.device.pseudonyms import in_a_row, worked_out

PATIENTS = [
    {"id": "P-7Q4XKP2M9R", "name": "Jürgen VK8Z2MNQ4T"},
    {"id": "P-ZC93HW5TYB", "name": "Jürgen 顾龚邵万覃武钱戴"},
    {"id": "P-0M6LNE8FAS", "name": "Jürgen 7391055284"},
]
WEAK: dict[str, Callable[[dict[str, str]], str]] = {
    "SHA-256 of the id": lambda p: hashlib.sha256(p["id"].encode()).hexdigest(),
    "its first 8 digits in capitals": lambda p: hashlib.sha256(p["id"].encode()).hexdigest()[:8].upper(),
    "its last 12 digits behind a word": lambda p: f"P-{hashlib.sha256(p['id'].encode()).hexdigest()[-12:]}",
    "MD5 of the name in UTF-16": lambda p: hashlib.md5(p["name"].encode("utf-16-le")).hexdigest(),
    "SHA-1 of id and name": lambda p: hashlib.sha1(f"{p['id']}|{p['name']}".encode()).hexdigest()[:20],
    "SHA-512 of the name in small letters": lambda p: hashlib.sha512(p["name"].lower().encode()).hexdigest(),
    "SHA-1 of the id without separators": lambda p: hashlib.sha1(p["id"].replace("-", "").encode()).hexdigest(),
    "SHA-256 with an end of line": lambda p: hashlib.sha256(f"{p['id']}\n".encode()).hexdigest(),
    "base64 of a digest": lambda p: base64.urlsafe_b64encode(hashlib.sha256(p["id"].encode()).digest()).decode()[:16],
    "CRC 32": lambda p: f"{zlib.crc32(p['id'].encode()):08x}",
    "CRC 32 as a number": lambda p: str(zlib.crc32(p["name"].encode())),
    "UUID": lambda p: str(uuid.uuid5(uuid.NAMESPACE_DNS, p["id"])),
    "the id backwards": lambda p: p["id"][::-1],
}


@pytest.mark.parametrize("way", WEAK)
def test_what_can_be_worked_out_is_found(way: str) -> None:
    shown = [WEAK[way](patient) for patient in reversed(PATIENTS)]
    assert worked_out([*shown, "cafe0123"], PATIENTS) != []


def test_drawn_and_keyed_ones_are_let_pass() -> None:
    secret = secrets.token_bytes(16)
    keyed = [hmac.digest(secret, patient["id"].encode(), "sha256").hex() for patient in PATIENTS]
    for shown in (keyed, [secrets.token_hex(8) for _ in PATIENTS], [str(uuid.uuid4()) for _ in PATIENTS]):
        assert worked_out(shown, PATIENTS) == []
        assert not in_a_row(shown)
    assert worked_out(keyed, []) == []


@pytest.mark.parametrize(
    "shown",
    [
        ["1", "2", "3"], ["9", "10", "11"], ["1", "10", "11"], ["PAT-0007", "PAT-0009", "PAT-0008"], ["0a", "0b", "0c"],
        ["1000", "1100", "1200"], ["P-00ff", "P-0100", "P-0101"], ["41", "42"],
    ],
)  # fmt: skip
def test_what_is_counted_is_found(shown: list[str]) -> None:
    random.Random(3).shuffle(shown)
    assert in_a_row(shown)


@pytest.mark.parametrize("shown", [[], ["5"], ["7f31", "02aa", "c9d4"], ["red", "green"], ["518204", "730011", "99"]])
def test_what_is_not_counted_is_let_pass(shown: list[str]) -> None:
    assert not in_a_row(shown)
