"""The pump's application: everything that ends with a restart, wired together."""

from __future__ import annotations

import random
from collections.abc import Callable, Set

from accounts import Accounts
from audit import AuditLog
from can_bus import CanServer
from commands import Commands
from modbus import ModbusServer
from state import Clock, Data, Identity, Therapy
from uds import UdsServer


class Application:
    """One run of the application, from its start to its restart.

    `started_by` is why it starts: `power-on`, `restart` or `signal-11`. `reset` is called for a wanted restart
    (after the answer has gone out), `crash` for an unwanted one.
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
        reset: Callable[[], None],
        crash: Callable[[], None],
    ) -> None:
        self.clock = clock
        self.data = data
        self.rng = rng
        self.weaknesses = weaknesses
        self.identity = identity
        self.authorised_key = authorised_key
        self.reset = reset
        self.crash = crash
        self.audit = AuditLog(clock=clock, data=data)
        self.therapy = Therapy(clock=clock, data=data, rng=rng)
        self.accounts = Accounts(clock=clock, audit=self.audit, weaknesses=weaknesses)
        self.commands = Commands(self)
        self.can = CanServer(self)
        self.uds = UdsServer(self)
        self.modbus = ModbusServer(self)
        self.audit.record("boot", surface="system", detail=started_by)
