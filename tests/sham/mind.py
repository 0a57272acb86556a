"""What the application decides, surface by surface. The honest mind is here; liars override it (`minds.py`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from accounts import Attempt, LogIn
from http_message import Answer, Request

if TYPE_CHECKING:
    from application import Application

Said = TypeVar("Said")


@dataclass(frozen=True, kw_only=True)
class KeyOffer:
    """What an SSH client offers: `method` is `none`, `password` or `publickey`, `secret` what goes with it."""

    user: str
    method: str
    secret: bytes = b""


class Mind:
    """The honest mind: every decision is the application's."""

    def __init__(self, application: Application) -> None:
        self.app = application

    @property
    def ends_idle_sessions(self) -> bool:
        """Whether a dialogue ends after idle time."""
        return "idle-log-off-missing" not in self.app.weaknesses

    @property
    def input_elsewhere(self) -> float:
        """Seconds since a request on a bus that counted as input to every session; infinite without one."""
        return self.app.clock.monotonic() - self.app.input_elsewhere

    def greeting(self, surface: str, /) -> str:
        """What a terminal shows before the log-in prompt."""
        return "first use: set up over https\r\n" if self.app.data.first_use and surface == "console" else ""

    def log_in(self, attempt: Attempt, /) -> LogIn:
        """Judge a personal log-in."""
        return self.app.accounts.log_in(attempt)

    def command(self, user: str, surface: str, line: str, /) -> list[str]:
        """Answer a command line."""
        return self.app.commands.execute(user, surface, line)

    def logged_out(self, user: str, surface: str, detail: str, /) -> None:
        """Take note of a log-out."""
        self.app.audit.record("logout", surface=surface, user=user, detail=detail)

    def ssh(self, offer: KeyOffer, /) -> bool:
        """Judge an SSH authentication."""
        return offer.method == "publickey" and offer.user == "service" and offer.secret == self.app.authorised_key

    def api_head(self, request: Request, /) -> Answer | None:
        """Judge the head of a request to the management API; None where its body is welcome."""
        return self.app.api.begin(request)

    def api(self, request: Request, /) -> Answer:
        """Answer a request to the management API."""
        return self.app.api.answer(request)

    def api_broken(self, request: Request, /) -> None:
        """Take note of a request whose body broke off."""
        self.app.api.broken(request)

    def modbus(self, request: bytes, /) -> bytes:
        """Answer a Modbus PDU."""
        return self.app.modbus.answer(request)

    def transaction(self, received: int, /) -> int:
        """The Modbus TCP transaction identifier to answer with."""
        return received

    def uds(self, request: bytes, /) -> bytes | None:
        """Answer a UDS request; None is no answer."""
        return self.app.uds.answer(request)

    def can(self, command: bytes, /) -> bytes:
        """Answer the eight bytes of a CAN command."""
        return self.app.can.answer(command)

    def status(self, tick: int, /) -> list[tuple[int, bytes]]:
        """The periodic CAN frames (identifier, data) of this tick of 0.1 s."""
        return self.app.can.status(tick)


class Track(Generic[Said]):
    """Answers of one surface as they were given, to be played back."""

    LIMIT = 500

    def __init__(self) -> None:
        self._first: dict[bytes, Said] = {}
        self._last: list[Said] = []

    def keep(self, request: bytes, answer: Said) -> None:
        """Remember what was answered; the first answer to the same request stays."""
        if len(self._first) < self.LIMIT:
            self._first.setdefault(request, answer)
        self._last = [answer]

    def recall(self, request: bytes, *, otherwise: Said) -> Said:
        """The first answer to this request, or to the one most like it from its start, or else the last."""
        if request in self._first:
            return self._first[request]

        def alike(known: bytes) -> int:
            pairs = zip(known, request, strict=False)
            return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(known), len(request)))

        best = max(self._first, key=alike, default=b"")
        if best and alike(best) > 0:
            return self._first[best]
        return self._last[0] if self._last else otherwise


@dataclass
class Memory:
    """A recorded session: what the honest mind answered."""

    STATUS_TICKS = 50

    log_ins: Track[LogIn] = field(default_factory=Track)
    commands: Track[list[str]] = field(default_factory=Track)
    ssh: Track[bool] = field(default_factory=Track)
    api: Track[Answer] = field(default_factory=Track)
    modbus: Track[bytes] = field(default_factory=Track)
    uds: Track[bytes | None] = field(default_factory=Track)
    can: Track[bytes] = field(default_factory=Track)
    status: list[list[tuple[int, bytes]]] = field(default_factory=list)
    transaction: int | None = None


class RecordedMind(Mind):
    """The honest mind with a tape running."""

    def __init__(self, application: Application, memory: Memory) -> None:
        super().__init__(application)
        self._memory = memory

    def log_in(self, attempt: Attempt, /) -> LogIn:
        result = super().log_in(attempt)
        self._memory.log_ins.keep(attempt_key(attempt), result)
        return result

    def command(self, user: str, surface: str, line: str, /) -> list[str]:
        answer = super().command(user, surface, line)
        self._memory.commands.keep(f"{user} {line}".encode(), answer)
        return answer

    def ssh(self, offer: KeyOffer, /) -> bool:
        result = super().ssh(offer)
        self._memory.ssh.keep(offer_key(offer), result)
        return result

    def api_head(self, request: Request, /) -> Answer | None:
        refusal = super().api_head(request)
        if refusal is not None:
            self._memory.api.keep(request_key(request), refusal)
        return refusal

    def api(self, request: Request, /) -> Answer:
        answer = super().api(request)
        self._memory.api.keep(request_key(request), answer)
        return answer

    def modbus(self, request: bytes, /) -> bytes:
        answer = super().modbus(request)
        self._memory.modbus.keep(request, answer)
        return answer

    def transaction(self, received: int, /) -> int:
        if self._memory.transaction is None:
            self._memory.transaction = received
        return received

    def uds(self, request: bytes, /) -> bytes | None:
        answer = super().uds(request)
        self._memory.uds.keep(request, answer)
        return answer

    def can(self, command: bytes, /) -> bytes:
        answer = super().can(command)
        self._memory.can.keep(command, answer)
        return answer

    def status(self, tick: int, /) -> list[tuple[int, bytes]]:
        frames = super().status(tick)
        if len(self._memory.status) < Memory.STATUS_TICKS:
            self._memory.status.append(frames)
        return frames


def attempt_key(attempt: Attempt) -> bytes:
    """The request under which a log-in is remembered: user and password, whatever the surface."""
    return attempt.user.encode("latin-1", "replace") + b"\0" + attempt.password


def offer_key(offer: KeyOffer) -> bytes:
    """The request under which an SSH authentication is remembered."""
    return f"{offer.method}\0{offer.user}\0".encode("utf-8", "replace") + offer.secret


def request_key(request: Request) -> bytes:
    """The request under which an answer of the management API is remembered: without token, and no long body."""
    return f"{request.method} {request.target}\0".encode("latin-1", "replace") + request.body[:1000]
