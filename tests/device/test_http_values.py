"""Templates and values: whatever is filled in or comes back, a request stays one request and nothing stumbles."""

from __future__ import annotations

import json
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.device.backup_layout import header, split, with_header
from harness.device.http_values import (
    at_text,
    encoded,
    fill,
    fill_path,
    flat,
    form_of,
    matches,
    named_values,
    parse,
    rows,
    taken,
)
from harness.links.http import HttpResponse
from harness.rig.claims import BackupClaim, BackupPart
from harness.rig.http_surface import HttpPattern, HttpRequestSpec, HttpTaken
from harness.rig.templates import holes

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**40), 2**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


def answer(status: int, body: bytes, **headers: str) -> HttpResponse:
    """An answer as the link gives it."""
    named = tuple((name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items())
    return HttpResponse(status=status, headers=named, body=body, raw=b"")


@given(st.binary(max_size=300))
def test_any_body_is_parsed_or_is_none(body: bytes) -> None:
    value = parse(body)
    flat(value)
    rows(value, "a", {"x": "y"})
    at_text(value, "a/b")
    matches(HttpPattern(status=(200,), values={"a": ".*"}, body="x"), answer(200, body))


def test_a_request_has_one_body() -> None:
    with pytest.raises(ValueError, match="either `body` or `form`"):
        HttpRequestSpec(method="POST", path="/", body={}, form={"a": "b"})
    assert HttpRequestSpec(method="POST", path="/", form={"a": "{b}"}).named() == {"b"}
    assert form_of({"a": "{b}&c"}, {"b": "x=y"}) == b"a=x%3Dy%26c"


@given(JSON)
def test_json_comes_back_whole(value: object) -> None:
    assert parse(encoded(value)) == value


@pytest.mark.parametrize("body", [b"[" * 200_000, b'{"a":1,"a":2}', b"NaN", b"1" * 10_000, b"\xff", b"", b'{"a":}'])
def test_what_is_ambiguous_too_deep_or_no_json_is_none(body: bytes) -> None:
    assert parse(body) is None


def test_what_is_deep_is_flattened_without_recursion() -> None:
    deep: object = 1
    for _ in range(2000):
        deep = {"a": deep}
    assert len(flat(deep) or ()) == 1


def test_values_have_the_names_that_lead_to_them() -> None:
    value = {"state": "idle", "n": 1.50, "users": [{"user": "a", "on": True}, {"user": "b"}], "empty": []}
    assert flat(value) == (
        ("state", "idle"), ("n", "1.5"), ("users/#", "2"), ("users/user", "a"), ("users/on", "true"),
        ("users/user", "b"), ("empty/#", "0"),
    )  # fmt: skip


def test_rows_are_whole_or_none() -> None:
    value = {"users": [{"user": "a", "role": "r", "more": {}}], "names": ["x", "y"]}
    assert rows(value, "users", {"name": "user", "role": "role"}) == ({"name": "a", "role": "r"},)
    assert rows(value, "names", {"name": ""}) == ({"name": "x"}, {"name": "y"})
    assert rows(value, "users", {"name": "missing"}) is None
    assert rows(value, "users", {"name": "more"}) is None
    assert rows(value, "nowhere", {"name": "user"}) is None
    assert rows({"users": "abc"}, "users", {"name": ""}) is None


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_an_argument_stays_one_part_of_the_path(text: str) -> None:
    target = fill_path("/api/users/{user}/x?n={user}", {"user": text})
    start, middle, end = target.split(b"/")[2:5]
    assert (start, end.split(b"?")[0]) == (b"users", b"x")
    assert unquote_to_bytes(middle).decode() == text
    assert not set(target) & set(b" \r\n#\x00")


@given(st.text(st.characters()))
def test_a_lone_surrogate_in_a_path_is_no_fault(text: str) -> None:
    assert fill_path("/{x}", {"x": text + "\ud800\udcff"}).isascii()


def test_names_without_end_are_none() -> None:
    assert flat({"n" * 100_000: {str(number): 1 for number in range(1000)}}) is None
    deep: object = 1
    for _ in range(5000):
        deep = {"a": [deep]}
    assert flat(deep) is None


@given(st.text(), st.text())
def test_what_is_filled_in_is_not_filled_again(first: str, second: str) -> None:
    assert fill({"a": "{x}", "b": "<{x}{y}>"}, {"x": first, "y": second}) == {"a": first, "b": f"<{first}{second}>"}


def test_a_text_that_is_an_argument_alone_keeps_its_kind() -> None:
    filled = fill({"n": "{n}", "t": "n={n}", "list": ["{n}", True, None], "{k}": 1}, {"n": 60.0, "k": "ward"})
    assert json.loads(encoded(filled)) == {"n": 60.0, "t": "n=60.0", "list": [60.0, True, None], "ward": 1}
    assert fill("{unknown}", {}) == "{unknown}"
    assert holes({"a": ["{x}", {"{y}": "{z} {x}"}], "b": 1}) == {"x", "y", "z"}


def test_a_lone_surrogate_is_written_as_an_escape() -> None:
    assert encoded({"user": "\udcff"}) == b'{"user": "\\udcff"}'
    assert encoded({"user": "Jürgen"}) == '{"user": "Jürgen"}'.encode()


def test_an_answer_matches_by_all_that_is_declared() -> None:
    pattern = HttpPattern(status=(200, 201), values={"error": "locked|full", "n": "1"}, body="lock")
    assert matches(pattern, answer(200, b'{"error": "locked", "n": 1}'))
    assert not matches(pattern, answer(500, b'{"error": "locked", "n": 1}'))
    assert not matches(pattern, answer(200, b'{"error": "unlocked", "n": 1}'))
    assert not matches(pattern, answer(200, b'{"error": "full", "n": 1}'))
    assert not matches(pattern, answer(200, b'{"error": ["locked"], "n": 1}'))
    assert not matches(pattern, answer(200, b"locked"))


LAYOUT = (
    BackupPart(name="magic", size=4),
    BackupPart(name="length", size=2),
    BackupPart(name="header", size_in="length"),
    BackupPart(name="data", size=3),
)
CLAIM = BackupClaim(
    source={"document": "D", "revision": "1", "section": "1"},
    surface="api",
    roles=("administrator",),
    passphrase="x",
    holds=(),
    layout=LAYOUT,
    header="header",
    header_values={"family": "fam", "version": "ver"},
    within=1,
)


def backup(head: bytes) -> bytes:
    return b"MAGC" + len(head).to_bytes(2) + head + b"abc"


def test_a_backup_is_split_to_its_last_byte() -> None:
    blob = backup(b'{"fam": "A"}')
    parts = split(LAYOUT, blob)
    assert parts is not None
    assert {name: blob[where.start : where.stop] for name, where in parts.items()} == {
        "magic": b"MAGC", "length": b"\x00\x0c", "header": b'{"fam": "A"}', "data": b"abc",
    }  # fmt: skip
    assert split(LAYOUT, blob + b"x") is None
    assert split(LAYOUT, blob[:-1]) is None


@given(st.binary(max_size=40))
def test_any_file_is_split_or_is_none(blob: bytes) -> None:
    parts = split(LAYOUT, blob)
    if parts is not None:
        assert b"".join(blob[where.start : where.stop] for where in parts.values()) == blob


def test_a_header_is_changed_with_its_length() -> None:
    changed = with_header(CLAIM, backup(b'{"fam": "A", "other": 1}'), family="a longer family", version="9")
    assert changed is not None
    assert header(CLAIM, changed) == {"fam": "a longer family", "ver": "9", "other": 1}
    assert changed[-3:] == b"abc"
    assert with_header(CLAIM, backup(b"[]"), family="x") is None
    assert with_header(CLAIM, backup(b'{"fam": "A"}'), serial="not in the claim") is None
    assert with_header(CLAIM, backup(b'{"fam": "A"}'), family="x" * 70_000) is None
    assert header(CLAIM, b"MAGC") is None


def test_a_header_is_part_of_what_an_answer_looks_like() -> None:
    pattern = HttpPattern(status=(302,), headers={"Location": "/home(\\?.*)?"})
    assert matches(pattern, answer(302, b"", location="/home?a=1"))
    assert not matches(pattern, answer(302, b"", location="/login?error"))
    assert not matches(pattern, answer(302, b""))


@pytest.mark.parametrize(
    ("what", "value"),
    [
        ({"value": "a/b"}, "1"),
        ({"value": "a"}, None),
        ({"header": "X-Token"}, "abc"),
        ({"header": "X-None"}, None),
        ({"cookie": "sid"}, "first"),
        ({"cookie": "other"}, None),
        ({"body": '"b": (\\d)'}, "1"),
        ({"body": '"c": (\\d)'}, None),
        ({"body": '"c": (\\d)|"b"'}, None),
    ],
)
def test_a_value_is_taken_out_of_an_answer(what: dict[str, str], value: str | None) -> None:
    given = answer(200, b'{"a": {"b": 1}}', **{"x_token": "abc", "set_cookie": "sid=first; Path=/"})
    assert taken(HttpTaken(**what), given) == value


@pytest.mark.parametrize("what", [{}, {"value": "a", "cookie": "b"}, {"body": "no group"}, {"body": "(two)(groups)"}])
def test_a_value_is_taken_from_one_place(what: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="one"):
        HttpTaken(**what)


@given(st.binary(max_size=200), st.text(alphabet=st.characters(max_codepoint=255), max_size=100))
def test_whatever_an_answer_holds_nothing_stumbles(body: bytes, text: str) -> None:
    given = answer(200, body, set_cookie=text, location=text)
    named_values(given)
    for what in ({"value": "a/b"}, {"header": "location"}, {"cookie": "a"}, {"body": "a(.)"}):
        taken(HttpTaken(**what), given)
