"""The HTTP surface of a device file: requests, what their answers mean, and how a log-in is carried on.

Templates: `{NAME}` in path, header and body is filled from the arguments of an action, and from `{account}`, `{token}`
and `{serial}`; in the log-in from `{account}` and `{password}`. A text of the body that is nothing but `{NAME}` becomes
the argument itself, a number where it is one. In a path an argument is percent-encoded.

What the answers hold is taken out by name: a value of the JSON body, a header, a cookie.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from harness.rig.claim_base import BytesPattern, Pattern, Strict
from harness.rig.log_in_surface import ActionBase, FieldCodec, LogInSurface
from harness.rig.templates import Scalar, check_whole, holes

__all__ = [
    "GIVEN",
    "HttpAction",
    "HttpFile",
    "HttpLogin",
    "HttpPage",
    "HttpPattern",
    "HttpRequestSpec",
    "HttpSurface",
    "HttpTaken",
]

GIVEN = frozenset({"account", "token", "serial"})
"""Names a template may use without an argument: who is logged in, and the unit's serial number."""


class HttpPattern(Strict):
    """What an answer looks like: one of these statuses, and everything else that is given here."""

    status: tuple[int, ...] = Field(description="One of these")
    values: dict[str, Pattern] = Field(
        default={}, description="Name of a value of the JSON body → regular expression of the whole value"
    )
    headers: dict[str, Pattern] = Field(
        default={}, description="Name of a header → regular expression of its whole value"
    )
    body: BytesPattern = Field(default="", description="Regular expression that is found in the body")


class HttpTaken(Strict):
    """One value taken out of an answer, for requests that come after it."""

    value: str = Field(default="", description="Name of a value of the JSON body")
    header: str = Field(default="", description="Name of a header")
    cookie: str = Field(default="", description="Name of a cookie that is set")
    body: BytesPattern = Field(
        default="", description="Regular expression that is found in the body; its one group is taken"
    )

    @model_validator(mode="after")
    def _one_place(self) -> HttpTaken:
        if len([place for place in (self.value, self.header, self.cookie, self.body) if place]) != 1:
            raise ValueError("give one of `value`, `header`, `cookie` and `body`")
        if self.body and re.compile(self.body).groups != 1:
            raise ValueError("`body` needs one group: what is taken")
        return self


class HttpRequestSpec(Strict):
    """A request: method, path with its query, headers, and a JSON body."""

    method: str = Field(pattern=r"^[A-Z]+$", description="`GET`, `POST` …")
    path: str = Field(description="Path with its query")
    headers: dict[str, str] = Field(default={}, description="Headers beside those of the session")
    body: Any = Field(
        default=None,
        description="Template of a JSON body; in a log-in with `{account}`, `{password}` and what `before` took",
    )
    form: dict[str, str] = Field(default={}, description="Fields of a form as browsers send it, instead of `body`")

    @model_validator(mode="after")
    def _one_body(self) -> Self:
        if self.body is not None and self.form:
            raise ValueError("give either `body` or `form`")
        return self

    def named(self) -> set[str]:
        """Return the names the request needs, but for the given ones."""
        return (holes(self.path) | holes(self.headers) | holes(self.body) | holes(self.form)) - GIVEN


class HttpFile(Strict):
    """The bytes of an action as the file of a multipart form (RFC 7578), as browsers upload one."""

    field: str = Field(description="Name of the form's field that takes the file")
    name: str = Field(description="Name of the file; `{NAME}` is filled from the arguments")
    media_type: str = Field(
        default="application/octet-stream", pattern=r"^[\w.+-]+/[\w.+-]+$", description="As it is told"
    )


class HttpAction(ActionBase, HttpRequestSpec):
    """One request. `args` gives arguments a testcase may use without harm, by name."""

    args: dict[str, Scalar] = Field(default={}, description="Arguments a testcase may use without harm, in order")
    octets: str | None = Field(default=None, description="The body is bytes, given by the testcase; these are harmless")
    file: HttpFile | None = Field(
        default=None, description="The bytes go as the file of a multipart form, behind the fields of `form`"
    )
    rows: str = Field(default="", description="Name of the list in the answer whose elements are rows")
    columns: dict[str, str] = Field(
        default={},
        description="Column of a row → name of the value in the element; empty for an element that is the value",
    )
    within: float | None = Field(default=None, gt=0, description="Seconds the device may take; else `answer_within`")

    @property
    def harmless(self) -> Mapping[str, Scalar]:
        """`args`."""
        return self.args

    def named(self) -> set[str]:
        """Return the names the request needs, but for the given ones."""
        return HttpRequestSpec.named(self) | (holes(self.file.name) - GIVEN if self.file else set())

    @model_validator(mode="after")
    def _file_of_bytes(self) -> Self:
        if self.file and self.octets is None:
            raise ValueError("`file` needs `octets`: what it holds where a testcase gives nothing")
        return self


class HttpPage(HttpRequestSpec):
    """A request before the log-in, and what is taken out of its answer for that."""

    take: dict[str, HttpTaken] = Field(
        default={}, description="Name in the templates of the log-in → what is taken out of the answer"
    )


class HttpLogin(HttpRequestSpec):
    """How to log in: the request, its answers, and what later requests carry.

    By `request` the answer holds a token. By `basic` (RFC 7617), `digest` (RFC 7616) and `certificate` (TLS) there is
    no session on the device: every request says who it is from, and this one shows whether that is believed.
    """

    by: Literal["request", "basic", "digest", "certificate"] = Field(default="request", description="See above")
    before: HttpPage | None = Field(
        default=None,
        description="Asked for first, on the same connection: a page with a hidden field, or one that sets a cookie",
    )
    accepted_when: HttpPattern = Field(description="The log-in was accepted")
    refused_when: HttpPattern = Field(description="The log-in was refused")
    locked_when: HttpPattern | None = Field(
        default=None, description="The account is locked; none where that cannot be told from another refusal"
    )
    full_when: HttpPattern | None = Field(default=None, description="The account has too many sessions")
    token: str = Field(default="", description="Name of the value of the answer that is the token")
    cookie: str = Field(default="", description="Name of the cookie that is the token; instead of `token`")
    header: str = Field(default="", description="Name of the header that is the token; instead of `token`")
    take: dict[str, HttpTaken] = Field(
        default={}, description="Name in `carried` → what else is taken out of the answer"
    )
    carried: dict[str, str] = Field(
        default={},
        description="Headers that every request of the session carries, with `{token}`; required by `request`",
    )
    log_out: HttpRequestSpec | None = Field(
        default=None, description="The request that ends a session; required by `request`"
    )

    @property
    def keeps_sessions(self) -> bool:
        """Whether the device keeps sessions, which have a beginning and an end."""
        return self.by == "request"

    @property
    def held(self) -> HttpTaken:
        """Where the token is, by `request`."""
        return HttpTaken(value=self.token, cookie=self.cookie, header=self.header)

    @model_validator(mode="after")
    def _fits(self) -> HttpLogin:
        ways = [way for way in ("token", "cookie", "header") if getattr(self, way)]
        if self.by == "request":
            if len(ways) != 1:
                raise ValueError("give either `token` or `cookie` or `header`")
            if not self.carried or self.log_out is None:
                raise ValueError(f"{'`log_out`' if self.carried else '`carried`'} is missing")
        elif given := [*ways, *(name for name in ("carried", "take", "log_out", "before") if getattr(self, name))]:
            raise ValueError(f"`{given[0]}` is of no use with `by: {self.by}`")
        asked = {"account", "password", "serial", *(self.before.take if self.before else ())}
        known = {*GIVEN, *self.take}
        unknown = sorted((self.named() - asked) | (holes(self.carried) - known))
        if unknown:
            raise ValueError(f"nothing gives {{{unknown[0]}}}; take it out of an answer")
        return self


class HttpSurface(LogInSurface):
    """An HTTP management interface. What is accepted, refused or neither is told by status and content."""

    type: Literal["http"] = "http"
    link: str = Field(description="An `https` link")
    accounts: tuple[str, ...] = Field(description="Accounts that may log in here")
    login: HttpLogin = Field(description="How somebody logs in, out, and is refused")
    accepted_when: HttpPattern = Field(description="How an acceptance looks")
    refused_when: HttpPattern = Field(description="How a refusal looks")
    denied_when: HttpPattern = Field(description="Which refusals are for the role")
    over_when: HttpPattern = Field(description="Which refusals are because nobody is logged in")
    reason: str = Field(default="", description="Name of the value of a refusal that says why")
    actions: dict[str, HttpAction] = Field(description="By name")
    unknown_request: HttpRequestSpec = Field(
        description="A request that the device must refuse; part of the proof of life"
    )
    fields: dict[str, FieldCodec] = Field(
        description=(
            "By the name of the device's value. `model`, `serial`, `version` on the identity surface; `uptime` "
            "on every surface"
        )
    )

    @property
    def names_users(self) -> bool:
        """Whether a log-in says who it is by a name and a password; a certificate does without."""
        return self.asks_password

    @property
    def asks_password(self) -> bool:
        """Whether people are known by a password."""
        return self.login.by != "certificate"

    @property
    def keeps_sessions(self) -> bool:
        """Whether the device keeps sessions, which have a beginning and an end."""
        return self.login.keeps_sessions

    @field_validator("actions")
    @classmethod
    def _whole_operations(cls, actions: dict[str, HttpAction]) -> dict[str, HttpAction]:
        for name, action in actions.items():
            check_whole(name, action.named())
            if bool(action.columns) != bool(action.rows):
                raise ValueError(f"action {name}: `rows` and `columns` go together")
        return actions
