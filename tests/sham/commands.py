"""The service commands of console and SSH menu (VP1-ICD §2.5)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from state import RATE_MAX, RATE_MIN
from users import Role

if TYPE_CHECKING:
    from application import Application

OK = "ok"
UNKNOWN = "error: unknown command"
NOT_PERMITTED = "error: not permitted"
BAD_ARGUMENT = "error: bad argument"

_ALL = frozenset(Role)
PERMITTED: dict[str, frozenset[Role]] = {
    "status": _ALL,
    "version": _ALL,
    "start": frozenset({Role.OPERATOR}),
    "stop": frozenset({Role.OPERATOR}),
    "alarm-test": frozenset({Role.OPERATOR}),
    "rate": frozenset({Role.OPERATOR}),
    "diagnostics": frozenset({Role.SERVICE}),
    "audit": frozenset({Role.ADMINISTRATOR}),
    "config": frozenset({Role.ADMINISTRATOR}),
    "unlock": frozenset({Role.ADMINISTRATOR}),
    "help": _ALL,
    "logout": _ALL,
}


@dataclass(frozen=True, kw_only=True)
class Asker:
    """Who asks, and over which surface."""

    user: str
    surface: str


class Commands:
    """Carries out command lines; each answer is a list of lines, the last `ok` or `error: REASON`."""

    def __init__(self, application: Application) -> None:
        self._app = application
        self._takes_arguments: dict[str, Callable[[Asker, list[str]], list[str]]] = {
            "rate": self._rate,
            "audit": self._audit,
            "config": self._config,
            "unlock": self._unlock,
        }

    def execute(self, user: str, surface: str, line: str) -> list[str]:
        """Answer one non-empty line of a logged-in user. Log-out itself is the session's business."""
        name, *arguments = line.split()
        if name not in self._known():
            return [UNKNOWN]
        if not self.permits(user, name):
            self._app.audit.record("denied", surface=surface, user=user, result="refused", detail=name)
            return [NOT_PERMITTED]
        if name in self._takes_arguments:
            return self._takes_arguments[name](Asker(user=user, surface=surface), arguments)
        if arguments:
            return [BAD_ARGUMENT]
        return [*self._simple(name, user=user, surface=surface), OK]

    def _known(self) -> list[str]:
        """The commands there are: version 2.0 gives the diagnostics over the API only."""
        return [name for name in PERMITTED if name != "diagnostics" or self._app.identity.version < (2, 0, 0)]

    def permits(self, user: str, name: str) -> bool:
        """Whether a user may use a command."""
        role = self._app.accounts.role(user)
        weak = name == "config" and role is Role.SERVICE and "role-unchecked" in self._app.weaknesses
        return role in PERMITTED[name] or weak

    def _simple(self, name: str, *, user: str, surface: str) -> list[str]:
        if name == "status":
            return self.status()
        if name == "version":
            return self.version()
        if name in ("start", "stop"):
            self._app.therapy.infuse(name == "start")
            self._app.audit.record(name, surface=surface, user=user)
        if name == "alarm-test":
            self._app.updates.test_alarm()
            self._app.audit.record(name, surface=surface, user=user)
        if name == "diagnostics":
            return self.diagnostics()
        if name == "help":
            return [f"command: {known}" for known in self._known() if self.permits(user, known)]
        return []

    def version(self) -> list[str]:
        """The lines of `version`, without the `ok`."""
        identity = self._app.identity
        return [
            f"model: {identity.model}",
            f"serial: {identity.serial}",
            f"version: {identity.version_text}",
        ]

    def status(self) -> list[str]:
        """The lines of `status`, without the `ok`."""
        therapy = self._app.therapy
        return [
            *self.version(),
            f"uptime_ms: {therapy.uptime_ms}",
            f"state: {('idle', 'infusing', 'alarm')[therapy.state]}",
            f"set_rate: {therapy.set_rate / 10:.1f}",
            f"flow: {therapy.flow / 10:.1f}",
            f"volume_ml: {therapy.volume_ul / 1000:.3f}",
            f"alarm: {therapy.alarm}",
        ]

    def diagnostics(self) -> list[str]:
        """The lines of `diagnostics`, without the `ok`."""
        app = self._app
        return [
            f"modbus_requests: {app.modbus.requests}",
            f"can_commands: {app.can.commands}",
            f"uds_requests: {app.uds.requests}",
            f"battery_mv: {12400 + app.rng.randrange(60)}",
        ]

    def _rate(self, asker: Asker, arguments: list[str]) -> list[str]:
        if len(arguments) != 1 or not re.fullmatch(r"[0-9]{1,4}(\.[0-9])?", arguments[0]):
            return [BAD_ARGUMENT]
        rate = round(float(arguments[0]) * 10)
        if not RATE_MIN <= rate <= RATE_MAX:
            return [BAD_ARGUMENT]
        self._app.therapy.set(rate)
        self._app.audit.record("rate", surface=asker.surface, user=asker.user, detail=f"{rate / 10:.1f}")
        return [OK]

    def _audit(self, _asker: Asker, arguments: list[str]) -> list[str]:
        count = arguments[0] if arguments else "20"
        if len(arguments) > 1 or not re.fullmatch(r"[0-9]{1,3}", count) or not 1 <= int(count) <= 200:
            return [BAD_ARGUMENT]
        return [*self._app.audit.last(int(count)), OK]

    def _config(self, asker: Asker, arguments: list[str]) -> list[str]:
        data = self._app.data
        if not arguments:
            return [f"alarm_volume: {data.alarm_volume}", f"ward_name: {data.ward_name}", OK]
        if len(arguments) != 2:
            return [BAD_ARGUMENT]
        name, value = arguments
        if not data.configure(name, value):
            return [BAD_ARGUMENT]
        self._app.audit.record("config", surface=asker.surface, user=asker.user, detail=name)
        return [OK]

    def _unlock(self, asker: Asker, arguments: list[str]) -> list[str]:
        if len(arguments) != 1 or self._app.accounts.role(arguments[0]) is None:
            return [BAD_ARGUMENT]
        self._app.accounts.unlock(arguments[0])
        self._app.audit.record("unlock", surface=asker.surface, user=asker.user, detail=arguments[0])
        return [OK]
