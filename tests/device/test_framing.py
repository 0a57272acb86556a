"""Framing of messages: what is framed comes back whole, and nothing else comes back as a message."""

from __future__ import annotations

import binascii
import time

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from harness.device.checksums import ALGORITHMS
from harness.device.framing import Codec
from harness.rig.message_surface import Algorithm, Checksum, Framing, MessageLogin, MessageSurface

NMEA = Framing(start="$", end="\r\n", checksum=Checksum(algorithm="xor8", separator="*"))
ASTM = Framing(
    start="\x02", end="\r\n", checksum=Checksum(algorithm="sum8", separator="\x03", covers=("text", "separator"))
)
BINARY = Framing(
    start="\x02", end="\x03", charset="latin-1",
    checksum=Checksum(algorithm="crc16-modbus", encoding="binary", order="little"),
)  # fmt: skip
BARE = Framing(start="\x02", checksum=Checksum(algorithm="crc32", encoding="binary", separator="\x03"))
LOWER = Framing(end="\r", checksum=Checksum(algorithm="crc16-ccitt", encoding="hex-lower"))
PLAIN = Framing(end="\r\n")
FRAMINGS = st.sampled_from([NMEA, ASTM, BINARY, BARE, LOWER, PLAIN])
TEXTS = st.text(st.characters(codec="ascii", exclude_characters="$*\r\n\x02\x03"), min_size=1, max_size=80)


@pytest.mark.parametrize(
    ("algorithm", "value"),
    [
        ("xor8", 0x31), ("sum8", 0xDD), ("lrc8", 0x23), ("crc16-modbus", 0x4B37), ("crc16-ccitt", 0x29B1),
        ("crc16-xmodem", 0x31C3), ("crc32", 0xCBF43926),
    ],
)  # fmt: skip
def test_check_values(algorithm: Algorithm, value: int) -> None:
    """Of the text `123456789`, those of the CRCs from the catalogue of parametrised CRC algorithms."""
    assert ALGORITHMS[algorithm][1](b"123456789") == value


def test_every_algorithm_has_its_check_value() -> None:
    (mark,) = test_check_values.pytestmark  # type: ignore[attr-defined]
    assert {row[0] for row in mark.args[1]} == set(ALGORITHMS)


ASYMMETRIC = Framing(
    start=">",
    prefix="01 ",
    answer_start=("<", "!"),
    end="\r",
    checksum=Checksum(algorithm="crc16-ccitt", separator="*"),
)


def test_requests_and_answers_that_begin_differently() -> None:
    codec = Codec(ASYMMETRIC)
    assert codec.frame(b"uptime") == b">01 uptime*" + b"%04X\r" % binascii.crc_hqx(b"01 uptime", 0xFFFF)
    for mark, text in ((b"<", b"01 ok a=1*2 b=<3>"), (b"!", b"status > *")):
        answer = mark + text + b"*%04X\r\n" % binascii.crc_hqx(text, 0xFFFF)
        found = codec.first(b"\n" + answer + b"<")
        assert found is not None
        assert (found.body, found.fault, found.used) == (text, "", len(answer))
        altered = codec.first(answer.replace(b"a", b"b", 1).replace(b"1*2", b"1*3").replace(b"status", b"statut"))
        assert altered is not None
        assert "checksum" in altered.fault
    assert codec.first(codec.frame(b"uptime")) is None, "what the bench sends is nothing the device says"
    assert [codec.begun(data) for data in (b"", b"\n", b"\n<0")] == [False, False, True]


def test_starts_that_say_nothing_are_refused() -> None:
    with pytest.raises(ValidationError, match="says nothing"):
        Framing(start=">", answer_start=("",), end="\r")
    with pytest.raises(ValidationError, match="covers `start`"):
        Framing(
            start=">", answer_start=("<",), end="\r",
            checksum=Checksum(algorithm="sum8", separator="*", covers=("start", "text")),
        )  # fmt: skip


def test_known_messages() -> None:
    nmea = b"$GPGLL,5300.97914,N,00259.98174,E,125926,A*28\r\n"
    found = Codec(NMEA).first(nmea)
    assert found is not None
    assert (found.fault, found.body) == ("", nmea[1:-5])
    assert Codec(NMEA).frame(found.body) == nmea
    # A Modbus RTU request, low byte of the checksum first.
    assert Codec(BINARY).frame(b"\x01\x03\x00\x00\x00\x01") == b"\x02\x01\x03\x00\x00\x00\x01\x84\x0a\x03"


@given(FRAMINGS, TEXTS, st.binary(max_size=40), st.binary(max_size=20))
def test_what_is_framed_comes_back(framing: Framing, text: str, noise: bytes, behind: bytes) -> None:
    codec = Codec(framing)
    message = codec.frame(text.encode())
    noise = noise.replace(codec.start, b"") if codec.start else b""
    assume(not codec.start or codec.start not in noise)
    found = codec.first(noise + message + behind)
    assert found is not None
    assert (found.fault, found.body, found.used) == ("", text.encode(), len(noise + message))


@given(FRAMINGS, TEXTS)
def test_what_is_not_whole_is_waited_for(framing: Framing, text: str) -> None:
    codec = Codec(framing)
    message = codec.frame(text.encode())
    for cut in range(len(message)):
        assert codec.first(message[:cut]) is None


@given(st.sampled_from([NMEA, ASTM, BINARY, BARE, LOWER]), TEXTS, st.data())
def test_a_wrong_checksum_is_a_fault(framing: Framing, text: str, data: st.DataObject) -> None:
    codec = Codec(framing)
    right = codec.checksum(text.encode())
    wrong = data.draw(st.binary(min_size=codec.width, max_size=codec.width).filter(lambda each: each != right))
    found = codec.first(codec.frame(text.encode(), checksum=wrong), final=True)
    if found is not None and not found.fault:
        # Bytes of a wrong one may end the message early, and then it is another message: whole and right.
        assert codec.frame(found.body) in codec.frame(text.encode(), checksum=wrong)
        assert found.body != text.encode()


@given(FRAMINGS, st.binary(max_size=400), st.booleans())
def test_noise_is_no_message(framing: Framing, data: bytes, final: bool) -> None:
    codec = Codec(framing)
    found = codec.first(data, final=final)
    if found is None:
        return
    assert 0 < found.used <= len(data)
    if not found.fault:
        assert data[: found.used].endswith(codec.frame(found.body))


@given(FRAMINGS, st.integers(1, 200))
def test_the_longest_is_the_longest(framing: Framing, more: int) -> None:
    codec = Codec(framing.model_copy(update={"longest": 60}))
    most = 60 - len(codec.frame(b""))
    fits, too_long = codec.first(codec.frame(b"A" * most)), codec.first(codec.frame(b"A" * (most + more)))
    assert fits is not None
    assert not fits.fault
    assert too_long is not None
    assert "60" in too_long.fault
    endless = codec.first(codec.start + b"A" * (60 + more))
    assert endless is not None
    assert "without an end" in endless.fault


def test_ends_without_end_are_given_up_soon() -> None:
    begin = time.monotonic()
    found = Codec(BINARY).first(b"\x02" + b"\x03" * 65000)
    assert found is not None
    assert "without an end" in found.fault
    assert time.monotonic() - begin < 20, "each of them was taken for the end of a message"


def test_empty_lines_are_skipped_and_a_lost_checksum_is_seen() -> None:
    found = Codec(PLAIN).first(b"\r\n\r\nOK\r\n")
    assert found is not None
    assert (found.body, found.used) == (b"OK", 8)
    lost = Codec(NMEA).first(b"$GOOD\r\n" + Codec(NMEA).frame(b"NEXT"))
    assert lost is not None
    assert (lost.fault, lost.used) == ("no checksum", 7)


def test_what_closes_a_message_closes_every_one() -> None:
    for framing in (NMEA, ASTM, BARE, PLAIN):
        codec = Codec(framing)
        found = codec.first(codec.start + b"abc" + codec.close)
        assert found is not None
        assert found.used == len(codec.start + b"abc" + codec.close)


SURFACE = {
    "link": "line", "accounts": [], "framing": {"end": "\r"}, "accepted_when": "OK", "refused_when": "NO",
    "login": {"send": "{password}", "accepted_when": "OK", "refused_when": "NO", "log_out": "BYE"},
    "actions": {}, "fields": {},
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"framing": {}}, "nothing says where a message ends"),
        ({"framing": {"end": "€"}}, "each character is one byte"),
        ({"framing": {"end": "\r", "checksum": {"algorithm": "crc16"}}}, "'xor8', 'sum8'"),
        ({"framing": {"end": "\r", "checksum": {"algorithm": "xor8", "covers": ["start"]}}}, "at least the `text`"),
        ({"login": {**SURFACE["login"], "send": "LOGIN {user}"}}, "write {password}"),  # type: ignore[dict-item]
        ({"values": "(?P<name>a)"}, "`name` and `value`"),
        ({"accepted_when": "("}, "not a regular expression"),
        ({"actions": {"user-add": {"send": "ADD {user}"}}}, "password, role"),
    ],
)
def test_mistakes_of_a_device_file_are_named(change: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError) as raised:
        MessageSurface.model_validate({**SURFACE, **change})
    assert words in str(raised.value)


def test_a_pin_names_nobody() -> None:
    surface = MessageSurface.model_validate(SURFACE)
    assert not surface.names_users
    login = MessageLogin(send="{account}:{password}", accepted_when="OK", refused_when="NO", log_out="BYE")
    assert surface.model_copy(update={"login": login}).names_users
