"""The management API: sessions, and who may ask for what (VP1-ICD §11.1 and §11.2)."""

from __future__ import annotations

import math
import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from accounts import Attempt, LogIn
from backup import Backups
from equipment import equipment_resources
from http_message import (
    ADMINISTRATOR,
    Answer,
    BadArgument,
    Call,
    Locked,
    LoginRefused,
    NotFound,
    NotLoggedIn,
    NotNow,
    NotPermitted,
    Refused,
    Request,
    Resource,
    Resources,
    TooLarge,
    TooMany,
    WrongMethod,
    done,
    in_json,
)
from resources import resources
from users import Role

if TYPE_CHECKING:
    from application import Application

IDLE_S = 20.0
SESSIONS = 3
SETUP_CODE = "Label-4471-Quay"
"""On the label of the fixture (VP1-ICD §14): published, not secret."""

WRONG_CODES, CODE_DELAY_S = 5, 10.0


@dataclass
class Session:
    """One log-in. `last` is the time of its last request, infinite while a transfer runs.

    `left`: logged out under the weakness that keeps its token good; its place is free.
    """

    user: str
    last: float
    left: bool = False


class Api:
    """Judges requests in the order of VP1-ICD §11.1 and carries them out."""

    def __init__(self, application: Application) -> None:
        self._app = application
        self._sessions: dict[str, Session] = {}
        self._wrong_codes = 0
        self._codes_from = 0.0
        self._resources: Resources = {
            ("POST", "/api/login"): Resource(do=self._log_in),
            ("POST", "/api/setup"): Resource(do=self._set_up),
            ("POST", "/api/logout"): Resource(do=self._log_out),
            ("POST", "/api/factory-reset"): Resource(do=self._erase, roles=ADMINISTRATOR),
            **resources(application),
            **equipment_resources(application),
            **Backups(application).resources(),
            **application.updates.resources(),
        }

    # -- requests ---------------------------------------------------------------------------------------------

    def begin(self, request: Request) -> Answer | None:
        """Judge the head of a request; None where its body is welcome."""
        try:
            call, resource = self._admit(request)
            if resource.head is not None:
                resource.head(call)
                self._sessions[request.token].last = math.inf
        except Refused as refusal:
            return refusal.answer()
        return None

    def answer(self, request: Request) -> Answer:
        """Carry a whole request out."""
        try:
            call, resource = self._admit(request)
            return resource.do(call)
        except Refused as refusal:
            return refusal.answer()

    def open_answer(self, request: Request) -> Answer:
        """Answer a reading request of anybody; for liars that have no log-in."""
        return self._resources[request.method, request.path].do(Call(request=request))

    def broken(self, request: Request) -> None:
        """The connection ended within the body of a request."""
        if request.path == "/api/update":
            self._app.updates.give_up()
        if request.token in self._sessions:
            self._sessions[request.token].last = self._app.clock.monotonic()

    def _admit(self, request: Request) -> tuple[Call, Resource]:
        session = self._session(request)
        path, name = self._known(request.method, request.path)
        resource = self._resources.get((request.method, path))
        if resource is None:
            raise WrongMethod
        call = Call(request=request, name=name)
        if session is not None:
            call.user, call.role = session.user, self._app.accounts.role(session.user)
            if not self._permits(resource, call, path):
                detail = re.sub(r"[^A-Za-z0-9._/-]", "_", f"{request.method}-{request.path}")
                self._app.audit.record("denied", surface="api", user=call.user, result="refused", detail=detail)
                raise NotPermitted
        if not request.query.keys() <= resource.query:
            raise BadArgument
        if max(request.length, len(request.body)) > resource.limit:
            raise TooLarge
        return call, resource

    def _session(self, request: Request) -> Session | None:
        if request.path == "/api/setup" or (request.path == "/api/login" and not self._app.data.first_use):
            return None
        self._forget_idle()
        session = self._sessions.get(request.token)
        if session is None:
            raise NotLoggedIn
        session.last = self._app.clock.monotonic()
        return session

    def _known(self, method: str, path: str) -> tuple[str, str]:
        """The path as the resources have it, and the NAME in it; one of this method before others."""
        for _, known in sorted(self._resources, key=lambda each: each[0] != method):
            if path == known and not path.endswith("/"):
                return path, ""
            if known.endswith("/") and path.startswith(known) and path != known:
                return known, path.removeprefix(known)
        raise NotFound

    def _permits(self, resource: Resource, call: Call, path: str) -> bool:
        weak, method = self._app.weaknesses, call.request.method
        if call.role in resource.roles:
            return True
        if call.role is not Role.SERVICE:
            return path == "/api/update" and "update-by-any-role" in weak
        reads = (method, path) == ("GET", "/api/patients") and "service-reads-patients" in weak
        return reads or (path == "/api/config" and "role-unchecked" in weak)

    # -- sessions ---------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Take note of sessions that ended."""
        self._forget_idle()

    def end_sessions(self, user: str | None) -> None:
        """End the sessions of a user; None: of everybody."""
        self._end([token for token, session in self._sessions.items() if user in (None, session.user)], "ended")

    def _forget_idle(self) -> None:
        if "idle-log-off-missing" not in self._app.weaknesses:
            now, elsewhere = self._app.clock.monotonic(), self._app.input_elsewhere
            idle = [token for token, each in self._sessions.items() if now - max(each.last, elsewhere) >= IDLE_S]
            self._end(idle, "idle")

    def _end(self, tokens: list[str], detail: str) -> None:
        for token in tokens:
            user = self._sessions.pop(token).user
            self._app.audit.record("logout", surface="api", user=user, detail=detail)

    def _log_in(self, call: Call) -> Answer:
        user, password = call.texts("user", "password")
        self._forget_idle()
        open_sessions = sum(session.user == user and not session.left for session in self._sessions.values())
        attempt = Attempt(
            user=user,
            password=password.encode("utf-8", "surrogatepass"),
            surface="api",
            connection=call.request.connection,
            room=open_sessions < SESSIONS or "session-limit-missing" in self._app.weaknesses,
        )
        result = self._app.accounts.log_in(attempt)
        if result is not LogIn.ACCEPTED:
            raise {LogIn.LOCKED: Locked, LogIn.NO_ROOM: TooMany}.get(result, LoginRefused)
        token = secrets.token_hex(32)
        self._sessions[token] = Session(user=user, last=self._app.clock.monotonic())
        role = self._app.accounts.role(user)
        assert role is not None
        return in_json({"token": token, "role": role.value})

    def _log_out(self, call: Call) -> Answer:
        call.fields()
        if "token-survives-log-off" in self._app.weaknesses:
            self._sessions[call.request.token].left = True
            self._app.audit.record("logout", surface="api", user=call.user)
        else:
            self._end([call.request.token], "-")
        return done()

    def _erase(self, call: Call) -> Answer:
        if call.texts("confirm") != [f"ERASE {self._app.identity.serial}"]:
            raise BadArgument
        self._app.audit.record("factory-reset", surface="api", user=call.user)
        self._app.outside.erase()
        return done(202)

    def _set_up(self, call: Call) -> Answer:
        code, password = call.texts("code", "password")
        app, now = self._app, self._app.clock.monotonic()
        if not app.accounts.suits("admin", password) and app.data.first_use:
            raise BadArgument
        if not app.data.first_use and "setup-code-works-twice" not in app.weaknesses:
            raise NotNow
        if now < self._codes_from:
            raise Locked
        if code != SETUP_CODE:
            self._wrong_codes += 1
            if self._wrong_codes >= WRONG_CODES:
                self._wrong_codes, self._codes_from = 0, now + CODE_DELAY_S
            app.audit.record("setup", surface="api", result="refused", detail="code")
            raise LoginRefused
        app.accounts.set("admin", role=Role.ADMINISTRATOR, password=password)
        app.audit.record("setup", surface="api", user="admin")
        return done()
