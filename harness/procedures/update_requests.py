"""What is asked of a device's update in a testcase: requests, states, and what the console shows of them."""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event

from harness.case import Case
from harness.device.answer import Answer
from harness.device.http import HttpSession, HttpSurface
from harness.device.log_in import LogInSurface, Session
from harness.device.outcomes import Accepted, NoAnswer, Outcome, Refused, Unintelligible, name_of
from harness.links.file_server import FileServer, Offer, serve
from harness.links.http import HttpConnection, HttpRequest
from harness.links.stream import StreamLink
from harness.procedures.acting import in_role
from harness.rig.claims import UpdateClaim
from harness.verdict import SilenceAfterAttack, Undecided

__all__ = ["POLL", "UpdateRequests", "UpdateStatus"]

POLL = 0.1
"""Seconds between two looks at the state."""


@dataclass(frozen=True, slots=True)
class UpdateStatus:
    """What the device says of its update between two monotonic instants; `state` in the claim's words."""

    state: str
    detail: str
    version: str
    target: str
    asked: float
    answered: float

    def __str__(self) -> str:
        return f"{self.state} {self.detail}, version {self.version}, target {self.target}"


class UpdateRequests:
    """The update of the device of a testcase, by an account whose role may. Its session ends with `close`."""

    def __init__(self, case: Case, claim_id: str) -> None:
        self.case = case
        self.id = claim_id
        self.claim = case.bench.rig.device.claims_of(UpdateClaim)[claim_id]
        self.seen: list[str] = []
        """States as they were answered, each change once."""
        self.spent: dict[str, float] = {}
        """Seconds each stage took in the last update that was followed."""
        self._names: dict[str, str] = {word: name for name, word in self.claim.states.items()}
        self.within: dict[str, float] = self.claim.model_dump()["within"]
        """Seconds each stage may take."""
        self._reasons: dict[str, str] = self.claim.model_dump()["refusals"]
        self._session: Session | None = None
        self._tick = Event()
        self._mark = 0
        self.listen()

    @property
    def door(self) -> LogInSurface:
        """The surface; another object after each restart."""
        return self.case.bench.log_in_surface(self.claim.surface)

    @property
    def http_door(self) -> HttpSurface:
        """The surface, for those who need its requests.

        Raises:
            UsageError: it is no HTTP surface.
        """
        return self.case.bench.http(self.claim.surface)

    @property
    def names_bundles(self) -> bool:
        """Whether an upload tells the device what the bundle is called; XMODEM does not."""
        action = self.door.actions.get("update-upload")
        return action is None or "name" in action.named()

    @property
    def account(self) -> str:
        """An account that may update.

        Raises:
            Undecided: none is declared.
        """
        return in_role(self.case, self.claim.surface, self.claim.roles, to="update")

    def close(self) -> None:
        """Log out."""
        session, self._session = self._session, None
        if session is not None:
            session.log_out()

    # One request

    def status(self) -> Outcome[UpdateStatus]:
        """Ask for the state."""
        asked = time.monotonic()
        outcome = self.do("update-status")
        if not isinstance(outcome, Accepted):
            return outcome
        word, version = outcome.value.get("state"), outcome.value.get("version")
        if word is None or version is None:
            return Unintelligible("no state or version", sent=outcome.sent, received=outcome.received)
        state = self._names.get(word, word)
        if self.seen[-1:] != [state]:
            self.seen.append(state)
        status = UpdateStatus(
            state=state,
            detail=outcome.value.get("detail") or "",
            version=version,
            target=outcome.value.get("target") or "",
            asked=asked,
            answered=time.monotonic(),
        )
        return Accepted(status, sent=outcome.sent, received=outcome.received)

    def now(self) -> UpdateStatus:
        """Return the state.

        Raises:
            Undecided: it is not answered.
        """
        return self.case.value(self.status(), "the state of the update")

    def do(self, action: str, *, octets: bytes | None = None, **named: str) -> Outcome[Answer]:
        """Carry out an operation, in a new session where there is none or it is over.

        On a line that all share every operation has a session of its own: between two of them others read on it.
        """
        if self.case.bench.wiring.shared(self.door.declared.link):
            with self.door.session(self.account) as inside:
                return inside.value.do(action, octets=octets, **named) if isinstance(inside, Accepted) else inside
        outcome: Outcome[Answer] | None = None
        for _ in range(2):
            if self._session is None:
                opened = self.door.log_in(self.account)
                if not isinstance(opened, Accepted):
                    return opened
                self._session = opened.value
            outcome = self._session.do(action, octets=octets, **named)
            if not self.door.ended(outcome):
                return outcome
            self.forget()
        assert outcome is not None
        return outcome

    @contextmanager
    def served(self, offer: bytes | Offer | None, *, name: str) -> Iterator[tuple[FileServer, str]]:
        """Offer a file to the device for a block, nothing with None; yields server and address."""
        rig = self.case.bench.rig.file
        if rig.bench_address is None:
            raise Undecided("the rig names no address of the bench in the device's network (bench_address)")
        files = {} if offer is None else {f"/{name}": offer}
        tap = self.case.bench.wiring.tap(f"files {self.claim.surface}")
        with serve(self.case.bench.wiring.dialer, rig.bench_address, files, tap=tap) as server:
            yield server, server.url(f"/{name}")

    def request(self, data: bytes, *, name: str) -> HttpRequest:
        """Return the request of an upload, to be sent otherwise than whole at once.

        Raises:
            UsageError: the surface is no HTTP surface.
        """
        door = self.http_door
        self.now()  # a session that is good
        session = self._session if isinstance(self._session, HttpSession) else None
        return door.request("update-upload", octets=data, session=session, values={"name": name})

    def half_sent(self, data: bytes, *, name: str, first: int) -> tuple[HttpConnection, HttpRequest]:
        """Upload the `first` bytes of a bundle on a connection of its own and leave it open; the device receives then.

        Raises:
            Undecided: it does not.
        """
        request = self.request(data, name=name)
        connection = self.http_door.connect()
        if isinstance(connection, NoAnswer):
            raise Undecided(f"{self.claim.surface}: {name_of(connection)}")
        connection.upload(request, timeout=self.within.get("receiving", 60.0), first=first)
        try:
            if self.await_state({"receiving"}, within=5 * self.case.bench.wiring.answer_within) is None:
                raise Undecided(f"the device does not receive after {first} bytes: {self.now()}")
        except Undecided as why:
            # Also silence: a server that serves one connection says nothing while this one is open.
            connection.close()
            raise Undecided(str(why)) from why
        return connection, request

    def forget(self) -> None:
        """Let go of the session without a word: the device is about to lose it."""
        session, self._session = self._session, None
        if session is not None:
            session.drop()

    # States

    def await_state(self, states: Collection[str], *, within: float) -> UpdateStatus | None:
        """Wait for one of these states; None when the device is in another one, or refuses, after so many seconds.

        Raises:
            SilenceAfterAttack: it does not answer then. Undecided: it does not say its state.
        """
        deadline = time.monotonic() + within
        while True:
            outcome = self.status()
            if isinstance(outcome, Accepted) and outcome.value.state in states:
                return outcome.value
            if time.monotonic() > deadline:
                if isinstance(outcome, Accepted | Refused):
                    return None
                message = f"the state of the update is not told within {within:g} s: {name_of(outcome)}"
                if isinstance(outcome, NoAnswer) and self.case.bench.control.alive():
                    raise SilenceAfterAttack(message, claim=self.id)
                raise Undecided(message)
            self._tick.wait(POLL)

    def await_stage(self, stage: str, *, within: float) -> bool:
        """Wait until console or surface say that a stage has begun, then have the surface confirm it."""
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            if not self.listens or stage in self.shown():
                outcome = self.status()
                if isinstance(outcome, Accepted) and outcome.value.state == stage:
                    return True
                if self.listens:
                    return False
            self._tick.wait(POLL / 5)
        return False

    def await_shown(self, state: str, *, within: float) -> bool:
        """Wait until the console has shown a state since `listen`."""
        deadline = time.monotonic() + within
        while state not in self.shown():
            if time.monotonic() > deadline:
                return False
            self._tick.wait(POLL / 5)
        return True

    # What the console shows

    def listen(self) -> None:
        """Forget what console and surface have shown up to now."""
        self.seen.clear()
        console = self._console()
        self._mark = console.mark() if console is not None else 0

    def shown(self) -> list[str]:
        """Return the states the console has shown since `listen`; empty where the claim names none."""
        console = self._console()
        if console is None:
            return []
        found = re.finditer(self.claim.console_line.encode(), console.read_since(self._mark))
        words = [match["state"].decode(errors="backslashreplace") for match in found]
        return [self._names.get(word, word) for word in words]

    @property
    def listens(self) -> bool:
        """Whether the claim names a console that shows the states."""
        return self._console() is not None

    def _console(self) -> StreamLink | None:
        if not self.claim.console or not self.claim.console_line:
            return None
        stream = self.case.bench.wiring.open_stream(self.claim.console)
        return stream if isinstance(stream, StreamLink) else None
