"""A text is found in every form it could have been written in, and nothing is found where it is not."""

from __future__ import annotations

import base64
import json
import time
import urllib.parse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.device.traces import canary, credential_texts, credentials, forms, traces

WRITTEN = {
    "UTF-8": lambda text: text.encode(),
    "UTF-16": lambda text: text.encode("utf-16"),
    "UTF-32": lambda text: text.encode("utf-32-be"),
    "GBK": lambda text: text.encode("gbk"),
    "JSON": lambda text: json.dumps({"name": f"x{text}y"}).encode(),
    "JSON in JSON": lambda text: json.dumps(json.dumps({"name": text}, ensure_ascii=False)).encode(),
    "URL": lambda text: urllib.parse.urlencode({"name": text}).encode(),
    "hex": lambda text: text.encode().hex().encode(),
    "base64": lambda text: base64.b64encode(text.encode()),
    "URL base64": lambda text: base64.urlsafe_b64encode(b"ab" + text.encode() + b"c"),
    "swapped case": lambda text: text.lower().encode(),
}


@pytest.mark.parametrize("kind", ["letters", "digits", "chinese"])
@pytest.mark.parametrize("how", WRITTEN)
def test_found_however_it_is_written(kind: str, how: str) -> None:
    text = canary(kind)
    data = b"noise before " + WRITTEN[how](text) + b" noise after"
    assert [trace.name for trace in traces(data, {"canary": text})][:1] == ["canary"]


@pytest.mark.parametrize("before", [b"", b"\x07"])
def test_digits_are_found_as_bcd(before: bytes) -> None:
    assert traces(before + bytes.fromhex("1234567890123456"), {"digits": "1234567890123456"})
    assert traces(before + bytes.fromhex("2143658709214365"), {"digits": "1234567890123456"})
    assert traces(before + bytes.fromhex("0123456789012345"), {"digits": "1234567890123456"[:15]})


@given(st.binary(max_size=64), st.text(min_size=10, max_size=40))
def test_base64_is_found_at_every_alignment(before: bytes, text: str) -> None:
    written = base64.b64encode(before + text.encode() + b"after")
    assert any(form in written for name, form in forms(text).items() if name.startswith("base64 ("))


@given(st.binary(max_size=2000))
def test_nothing_is_found_in_noise(noise: bytes) -> None:
    assert traces(noise, {"canary": "Q7XKP2M9RT5B", "digits": "739105528461", "chinese": "顾龚邵万覃武"}) == []


def test_a_canary_is_another_each_time() -> None:
    assert len({canary(kind) for kind in ("letters", "digits", "chinese") for _ in range(20)}) == 60
    assert canary("chinese").encode("gbk")


@pytest.mark.parametrize(
    "data",
    [
        b"$6$rounds=5000$saltsaltsalt$" + b"a" * 86,
        b"x:$argon2id$v=19$m=8192,t=1,p=1$c29tZXNhbHQ$" + b"b" * 43,
        b"-----BEGIN PRIVATE KEY-----\n" + b"M" * 64 + b"\n",
        b"-----BEGIN OPENSSH PRIVATE KEY-----\r\n" + b"b" * 70,
        b"{'token': 'abc'}",
    ],
)
def test_a_credential_is_known_by_its_shape(data: bytes) -> None:
    assert credentials(b"before " + data, [r"'token'"])


def test_a_format_string_is_no_credential() -> None:
    assert credentials(b"$argon2id$v=%u$m=%u,t=%u,p=%u$ -----BEGIN PRIVATE KEY-----\0-----END") == []


def test_two_read_outs_differ_in_what_use_has_brought() -> None:
    own, new = b"$6$ofthesoftware$" + b"a" * 86, b"$6$ofanaccount$" + b"b" * 86
    brought = credential_texts(own)
    assert [
        trace.at for text, trace in credential_texts(own + b" " + new + b" " + new).items() if text not in brought
    ] == [len(own) + 1]


@pytest.mark.parametrize("line", [b"a: -----BEGIN PRIVATE KEY-----\n", b"-----BEGIN PRIVATE KEY-----\n\n\n", b"a: b\n"])
def test_hostile_lines_take_no_time(line: bytes) -> None:
    data = b"-----BEGIN PRIVATE KEY-----\n" + line * (1_000_000 // len(line))
    start = time.monotonic()
    assert credentials(data) == []
    assert time.monotonic() - start < 2
