"""What the management API is asked and answers, apart from how it is carried (VP1-ICD §11.1)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

from users import Role

JSON_LIMIT, BACKUP_LIMIT, BUNDLE_LIMIT = 16 << 10, 1 << 20, 96 << 20
"""Longest bodies in bytes (VP1-ICD §11.1)."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request; header names in lower case. `length` is that of the body, which is not there yet at the head."""

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    length: int = 0
    connection: str = "-"

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> dict[str, str]:
        """The query; a name that comes twice is `{}` with an empty name, which no resource takes."""
        pairs = parse_qsl(urlsplit(self.target).query, keep_blank_values=True)
        return dict(pairs) if len({name for name, _ in pairs}) == len(pairs) else {"": ""}

    @property
    def token(self) -> str:
        """The token in `Authorization`, empty where there is none."""
        kind, _, token = self.headers.get("authorization", "").partition(" ")
        return token.strip() if kind.lower() == "bearer" else ""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One answer."""

    status: int = 200
    body: bytes = b"{}"
    kind: str = "application/json"


class Refused(Exception):  # noqa: N818 - the outcome of a request, not an error of this program
    """A request refused, with the status and the reason in VP1-ICD's words."""

    status = 422
    reason = ""

    def answer(self) -> Answer:
        """The refusal as it goes out."""
        return in_json({"error": self.reason}, status=self.status)


class BadArgument(Refused):
    """Bad argument."""

    status, reason = 400, "bad argument"


class NotLoggedIn(Refused):
    """Not logged in."""

    status, reason = 401, "not logged in"


class LoginRefused(Refused):
    """Login refused."""

    status, reason = 401, "login refused"


class NotPermitted(Refused):
    """Not permitted."""

    status, reason = 403, "not permitted"


class NotFound(Refused):
    """Not found."""

    status, reason = 404, "not found"


class WrongMethod(Refused):
    """Method not allowed."""

    status, reason = 405, "method not allowed"


class NotNow(Refused):
    """Not possible now."""

    status, reason = 409, "not possible now"


class TooLarge(Refused):
    """Too large."""

    status, reason = 413, "too large"


class Locked(Refused):
    """Account locked."""

    status, reason = 423, "account locked"


class TooMany(Refused):
    """Too many sessions."""

    status, reason = 429, "too many sessions"


class BadFile(Refused):
    """A backup that is refused."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass
class Call:
    """A request that is allowed: who asks, and the NAME or ID in its path."""

    request: Request
    user: str = "-"
    role: Role | None = None
    name: str = ""

    def fields(self, **types: type) -> dict[str, object]:
        """The body's fields, all of them and no others. Raises `Refused`."""
        content = parse(self.request.body)
        if content.keys() != types.keys():
            raise BadArgument
        for name, wanted in types.items():
            value = content[name]
            if isinstance(value, bool) or not isinstance(value, (int, float) if wanted is float else wanted):
                raise BadArgument
        return content

    def texts(self, *names: str) -> list[str]:
        """The body's fields, all of them texts, in this order. Raises `Refused`."""
        content = self.fields(**dict.fromkeys(names, str))
        return [str(content[name]) for name in names]


@dataclass(frozen=True, kw_only=True)
class Resource:
    """What a method on a path does, for whom. `limit` is the longest body; `head` is called before the body comes."""

    do: Callable[[Call], Answer]
    roles: frozenset[Role] = frozenset(Role)
    limit: int = JSON_LIMIT
    head: Callable[[Call], None] | None = None
    query: frozenset[str] = frozenset()


Resources = dict[tuple[str, str], Resource]
"""By method and path; a path that ends in `/` is followed by a NAME or ID."""

ALL = frozenset(Role)
OPERATOR = frozenset({Role.OPERATOR})
SERVICE = frozenset({Role.SERVICE})
ADMINISTRATOR = frozenset({Role.ADMINISTRATOR})


def in_json(content: object, *, status: int = 200) -> Answer:
    """An answer in JSON."""
    return Answer(status=status, body=json.dumps(content, ensure_ascii=False).encode())


def done(status: int = 200) -> Answer:
    """An answer that says nothing more."""
    return Answer(status=status)


def parse(body: bytes) -> dict[str, object]:
    """The object in a body; an empty body is the empty object. Raises `Refused`."""
    try:
        content = json.loads(body or b"{}", object_pairs_hook=_once, parse_constant=_no_constant)
        body.decode("utf-8")
    except (ValueError, RecursionError):
        raise BadArgument from None
    if not isinstance(content, dict):
        raise BadArgument
    return content


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("a field twice")
    return dict(pairs)


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def is_text(text: str, *, least: int, most: int) -> bool:
    """Judge a text of the patients' kind (VP1-ICD §11.5): no control characters, and what UTF-8 can hold."""
    if re.search(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]", text):
        return False
    return least <= len(text) <= most
