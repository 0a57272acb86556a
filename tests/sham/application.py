"""The pump's application: everything that ends with a restart, wired together."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Set
from dataclasses import dataclass

from accounts import Accounts
from api import Api
from audit import AuditLog
from can_bus import CanServer
from commands import Commands
from modbus import ModbusServer
from state import Clock, Data, Identity, Therapy
from uds import UdsServer
from updates import Updates


def _nothing(*_what: object) -> None:
    """Where nobody is outside."""


@dataclass(frozen=True, kw_only=True)
class Outside:
    """What an application asks of the pump around it.

    `reset` is called for a wanted restart of the application (after the answer has gone out), `reboot` for one of the
    whole pump, `crash` for an unwanted one, `erase` for a factory reset; `fetch` gets a file from the bench's HTTP
    server, by port and path, and hands it over (None: it did not come); `log_off` ends the dialogues of a user (None:
    all of them), `show` puts a line on the console.
    """

    reset: Callable[[], None] = _nothing
    reboot: Callable[[], None] = _nothing
    crash: Callable[[], None] = _nothing
    erase: Callable[[], None] = _nothing
    fetch: Callable[[int, str, Callable[[bytes | None], None]], None] = _nothing
    log_off: Callable[[str | None], None] = _nothing
    show: Callable[[str], None] = _nothing


class Application:
    """One run of the application, from its start to its restart.

    `started_by` is why it starts: `power-on`, `restart` or `signal-11`.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        data: Data,
        rng: random.Random,
        weaknesses: Set[str],
        identity: Identity,
        authorised_key: bytes,
        started_by: str,
        outside: Outside,
    ) -> None:
        self.clock = clock
        self.data = data
        self.rng = rng
        self.weaknesses = weaknesses
        self.identity = identity
        self.authorised_key = authorised_key
        self.outside = outside
        self.input_elsewhere = -math.inf
        self.audit = AuditLog(clock=clock, data=data, weaknesses=weaknesses)
        self.therapy = Therapy(clock=clock, data=data, rng=rng)
        self.accounts = Accounts(clock=clock, audit=self.audit, data=data, weaknesses=weaknesses)
        self.commands = Commands(self)
        self.can = CanServer(self)
        self.uds = UdsServer(self)
        self.modbus = ModbusServer(self)
        self.updates = Updates(self)
        self.api = Api(self)
        self.audit.record("boot", surface="system", detail=started_by)
        self.updates.start()

    def tick(self) -> None:
        """One step of 0.1 s of what needs no request to go on."""
        self.api.tick()
        self.updates.tick()

    def asked_on_a_bus(self) -> None:
        """Take note of a request on Modbus, CAN or UDS: input to every session, by a weakness."""
        if "busy-bus-keeps-sessions" in self.weaknesses:
            self.input_elsewhere = self.clock.monotonic()

    def end_sessions(self, user: str | None = None) -> None:
        """Log a user off everywhere; None: everybody."""
        self.api.end_sessions(user)
        self.outside.log_off(user)
