"""Cleaning what a hostile device sent."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.clean import Masker, file_name, show, show_text

ANY_TEXT = st.text(alphabet=st.characters(exclude_categories=()))


@given(text=ANY_TEXT)
def test_shown_text_holds_nothing_that_acts(text: str) -> None:
    shown = show_text(text)
    assert all(char in "\n\t" or unicodedata.category(char)[0] != "C" for char in shown)
    shown.encode("utf-8")


@given(data=st.binary(max_size=3000))
def test_shown_bytes_hold_nothing_that_acts(data: bytes) -> None:
    show(data).encode("utf-8")
    assert "\x1b" not in show(data)


def test_escapes_are_spelled_out() -> None:
    assert show(b"\x1b[31mred\x00\xff") == "\\x1b[31mred\\x00\\xff"
    assert show_text("a\u202eb\udc80") == "a\\u202eb\\udc80"


def test_length_is_capped_and_said() -> None:
    assert show_text("x" * 50, limit=10) == "x" * 10 + "… (40 more)"
    assert show(b"y" * 1000, limit=10).endswith("more bytes)")


@given(text=ANY_TEXT)
def test_file_names_are_harmless(text: str) -> None:
    name = file_name(text)
    assert 0 < len(name) <= 80
    assert "/" not in name
    assert not name.startswith((".", "-"))


@pytest.mark.parametrize("text", ["../../etc/passwd", "a\0b", "..", ""])
def test_file_names_do_not_leave_the_folder(text: str) -> None:
    assert ".." not in file_name(text).split("/")


@given(before=st.text(), after=st.text())
def test_secrets_are_masked_at_equal_length(before: str, after: str) -> None:
    masked = Masker(["Summit-52"]).mask(before + "Summit-52" + after)
    assert "Summit-52" not in masked
    assert len(masked) == len(before) + 9 + len(after)


def test_a_secret_that_comes_up_later_is_masked_from_then_on() -> None:
    masker = Masker(["token"])
    masker.add("token-of-ann")
    masker.add("abc")
    assert masker.mask("token-of-ann token abc") == "************ ***** abc"
    assert masker.lengths("token-of-ann") == [12, 5]


def test_a_secret_is_masked_before_a_cut_and_as_json_and_urls_write_it() -> None:
    masker = Masker(['To"ken/ä-1234567'])
    cut = show(masker.mask_bytes('x To"ken/ä-1234567 y'.encode()), limit=8)
    assert "To" not in cut
    assert "1234567" not in masker.mask('{"token": "To\\"ken/\\u00e4-1234567"} To%22ken%2F%C3%A4-1234567')
