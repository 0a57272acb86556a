"""Templates filled for a request, and values taken out of an answer, whatever a hostile device has put into it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import quote, urlencode

from harness.links.http import HttpResponse
from harness.rig.http_surface import HttpAction, HttpPattern, HttpTaken
from harness.rig.templates import Scalar

__all__ = [
    "at_text",
    "encoded",
    "fill",
    "fill_path",
    "flat",
    "form_of",
    "matches",
    "multipart_of",
    "named_values",
    "octets_of",
    "parse",
    "rows",
    "taken",
]

LONGEST_NAMES = 8_000_000
"""Characters in all names `flat` makes; a long name above many values would fill the memory."""

_HOLE = re.compile(r"\{(\w+)\}")
_NOTHING = object()


def fill(template: Any, values: Mapping[str, Scalar]) -> Any:
    """Return a template with its `{NAME}` filled in; a text that is one of them alone becomes the value itself."""
    if isinstance(template, str):
        alone = _HOLE.fullmatch(template)
        if alone and alone[1] in values:
            return values[alone[1]]
        return _HOLE.sub(lambda hole: str(values.get(hole[1], hole[0])), template)
    if isinstance(template, Mapping):
        return {str(fill(name, values)): fill(value, values) for name, value in template.items()}
    if isinstance(template, list | tuple):
        return [fill(value, values) for value in template]
    return template


def fill_path(template: str, values: Mapping[str, Scalar]) -> bytes:
    """Return a path with its `{NAME}` filled in, percent-encoded so that an argument stays one part of it."""
    return _HOLE.sub(
        lambda hole: quote(octets_of(str(values[hole[1]])), safe="") if hole[1] in values else hole[0],
        template,
    ).encode("utf-8", errors="surrogateescape")


def form_of(fields: Mapping[str, str], values: Mapping[str, Scalar]) -> bytes:
    """Return the fields of a form with their `{NAME}` filled in, as browsers send it; a value stays one value."""
    filled = {name: octets_of(str(fill(template, values))) for name, template in fields.items()}
    return urlencode(filled).encode()


def multipart_of(spec: HttpAction, values: Mapping[str, Scalar], *, name: str, data: bytes) -> tuple[str, bytes]:
    """Return media type and body of a multipart form with a file behind the declared fields, as browsers send it.

    Source: RFC 7578; names are escaped as the HTML standard says (multipart/form-data encoding algorithm). The boundary
    is made of the content, so that a request is the same whenever it is sent.
    """
    assert spec.file is not None
    fields = {field: octets_of(str(fill(template, values))) for field, template in spec.form.items()}
    boundary = f"proofrig-{hashlib.sha256(b''.join(fields.values()) + data).hexdigest()[:40]}"
    disposition = b'--%b\r\nContent-Disposition: form-data; name="%b"'
    begin = boundary.encode()
    parts = [disposition % (begin, _quoted(field)) + b"\r\n\r\n" + text + b"\r\n" for field, text in fields.items()]
    parts.append(disposition % (begin, _quoted(spec.file.field)) + b'; filename="%b"\r\n' % _quoted(name))
    parts.append(b"Content-Type: %b\r\n\r\n" % octets_of(spec.file.media_type) + data + b"\r\n--%b--\r\n" % begin)
    return f"multipart/form-data; boundary={boundary}", b"".join(parts)


def _quoted(name: str) -> bytes:
    return octets_of(name).replace(b"\n", b"%0A").replace(b"\r", b"%0D").replace(b'"', b"%22")


def octets_of(text: str) -> bytes:
    """Return a text in UTF-8, whatever lone surrogates are in it: those for bytes become the bytes again."""
    try:
        return text.encode("utf-8", errors="surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", errors="surrogatepass")


def encoded(body: Any) -> bytes:
    """Return a JSON body in UTF-8; what has no UTF-8 is written as an escape."""
    try:
        return json.dumps(body, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(body).encode()


def parse(body: bytes) -> Any:
    """Return a JSON body as Python values; `None` when it is none, is ambiguous or is too deep."""
    try:
        return json.loads(body.decode("utf-8"), object_pairs_hook=_unambiguous, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None


def flat(value: Any) -> tuple[tuple[str, str], ...] | None:
    """Return the scalars of parsed JSON in order, each with the names that lead to it, joined by slashes.

    The elements of a list have the list's name; its length is there under the name with `/#`.
    `None` when the names would be longer than `LONGEST_NAMES` in all.
    """
    room = LONGEST_NAMES
    found: list[tuple[str, str]] = []
    left: list[tuple[str, Any]] = [("", value)]
    while left:
        name, item = left.pop()
        if isinstance(item, dict):
            room -= sum(len(name) + len(key) for key in item)
        elif isinstance(item, list):
            room -= len(name)
        if room < 0:
            return None
        if isinstance(item, dict):
            left += [(f"{name}/{key}" if name else key, inner) for key, inner in reversed(item.items())]
        elif isinstance(item, list):
            found.append((f"{name}/#", str(len(item))))
            left += [(name, inner) for inner in reversed(item)]
        else:
            found.append((name, _text(item)))
    return tuple(found)


def at(value: Any, name: str) -> Any:
    """Return the value that the names joined by slashes lead to, through objects only; a mark of its own if none."""
    for part in name.split("/") if name else ():
        if not isinstance(value, dict) or part not in value:
            return _NOTHING
        value = value[part]
    return value


def at_text(value: Any, name: str) -> str | None:
    """Return the scalar that the names lead to, as text; `None` when there is none."""
    found = at(value, name)
    return _text(found) if isinstance(found, str | int | float) else None


def rows(value: Any, name: str, columns: Mapping[str, str]) -> tuple[dict[str, str], ...] | None:
    """Return the elements of a list as rows; `None` when there is no such list or an element lacks a column.

    Elements that are no objects have one value, without a name.
    """
    items = at(value, name)
    if not isinstance(items, list):
        return None
    found = []
    for item in items:
        cells = {column: at(item, inner) for column, inner in columns.items()}
        if any(cell is _NOTHING or isinstance(cell, dict | list) for cell in cells.values()):
            return None
        found.append({column: _text(cell) for column, cell in cells.items()})
    return tuple(found)


def matches(pattern: HttpPattern, response: HttpResponse) -> bool:
    """Return whether an answer is as declared."""
    if response.status not in pattern.status:
        return False
    if pattern.body and not re.search(pattern.body.encode(), response.body):
        return False
    for name, regex in pattern.headers.items():
        header = response.header(name)
        if header is None or not re.fullmatch(regex, header):
            return False
    if not pattern.values:
        return True
    value = parse(response.body)
    return all(
        isinstance(found := at(value, name), str | int | float | bool) and re.fullmatch(regex, _text(found))
        for name, regex in pattern.values.items()
    )


def taken(what: HttpTaken, response: HttpResponse) -> str | None:
    """Return what is to be taken out of an answer; `None` when it is not there."""
    if what.value:
        return at_text(parse(response.body), what.value)
    if what.header:
        return response.header(what.header)
    if what.cookie:
        return cookies(response).get(what.cookie)
    found = re.search(what.body.encode(), response.body)
    return found[1].decode("utf-8", errors="surrogateescape") if found and found[1] is not None else None


def cookies(response: HttpResponse) -> dict[str, str]:
    """Return the cookies an answer sets, by name; the first of a name counts."""
    found: dict[str, str] = {}
    for name, value in response.headers:
        if name == b"set-cookie":
            try:
                morsels = SimpleCookie(value.decode("latin-1"))
            except CookieError:
                continue
            for cookie, morsel in morsels.items():
                found.setdefault(cookie, morsel.value)
    return found


def named_values(response: HttpResponse) -> tuple[tuple[str, str], ...]:
    """Return headers and cookies of an answer as values with a name: `header:server`, `cookie:lang`."""
    headers = [(f"header:{name.decode('latin-1')}", value.decode("latin-1")) for name, value in response.headers]
    return (*headers, *((f"cookie:{name}", value) for name, value in cookies(response).items()))


def _text(scalar: Any) -> str:
    return scalar if isinstance(scalar, str) else json.dumps(scalar)


def _unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
