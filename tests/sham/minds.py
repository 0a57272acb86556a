"""Lies told by the application, in correct protocol: accepting, refusing, playing back."""

from __future__ import annotations

from accounts import Attempt, LogIn
from application import Application
from commands import OK
from http_message import Answer, Request
from mind import KeyOffer, Memory, Mind, attempt_key, offer_key, request_key
from plausible import LIVE, live, plausible, refusal

SECURITY_DENIED, CONDITIONS, INVALID_KEY, TOO_EARLY = 0x33, 0x22, 0x35, 0x37
IDENTITY_AND_UPTIME = (0xF18C, 0xF195, 0xF197, 0x0100)
GENUINE_REGISTERS = range(6, 18)
"""Input registers with uptime, version, serial number and model (VP1-ICD §6.2)."""


class Accepting(Mind):
    """Says yes to everything and does nothing of it."""

    ends_idle_sessions = False

    def log_in(self, _attempt: Attempt, /) -> LogIn:
        """Anybody, with anything."""
        return LogIn.ACCEPTED

    def command(self, _user: str, _surface: str, _line: str, /) -> list[str]:
        """Done."""
        return [OK]

    def logged_out(self, user: str, surface: str, detail: str, /) -> None:
        """Not recorded."""

    def ssh(self, _offer: KeyOffer, /) -> bool:
        """Any user, any secret, none as well."""
        return True

    def api_head(self, _request: Request, /) -> Answer | None:
        """Any body is welcome."""
        return None

    def api(self, request: Request, /) -> Answer:
        """Success, with a body such as is wanted."""
        return plausible(request)

    def api_broken(self, _request: Request, /) -> None:
        """Not noticed."""

    def modbus(self, request: bytes, /) -> bytes:
        """Writes are echoed, reads give zeros, unknown functions their own code."""
        if request[0] in (3, 4) and len(request) == 5:
            quantity = min(int.from_bytes(request[3:5], "big"), 125)
            return bytes([request[0], 2 * quantity]) + bytes(2 * quantity)
        return request[:5]

    def uds(self, request: bytes, /) -> bytes | None:
        """A positive answer to everything, with zeros for data."""
        if request[0] == 0x3E and request[1:] == b"\x80":
            return None
        positive = bytes([(request[0] + 0x40) & 0xFF])
        if request[0] == 0x10:
            return positive + request[1:2] + bytes.fromhex("003201F4")
        if request[0] == 0x22:
            return positive + request[1:3] + bytes(4)
        if request[0] == 0x27 and request[1:2] == b"\x01":
            return positive + b"\x01" + self.app.rng.randbytes(8)
        return positive + request[1:2]

    def can(self, command: bytes, /) -> bytes:
        """Result 0 whatever it was."""
        value = command[1:3] if command[0] == 3 else bytes(2)
        return command[:1] + b"\0" + command[3:5] + b"\0\0" + value


class AcceptingLive(Accepting):
    """As accepting, but identity, version, uptime and status are genuine and live."""

    def command(self, user: str, surface: str, line: str, /) -> list[str]:
        """`status` and `version` as they are; `ok` to the rest."""
        if line == "status":
            return [*self.app.commands.status(), OK]
        return [*self.app.commands.version(), OK] if line == "version" else super().command(user, surface, line)

    def api(self, request: Request, /) -> Answer:
        """`status` and `version` as they are, for anybody."""
        return live(self.app, request) or super().api(request)

    def modbus(self, request: bytes, /) -> bytes:
        """Reads within the map as they are."""
        genuine = self.app.modbus.answer(request) if request[0] in (3, 4) else b"\x80"
        return super().modbus(request) if genuine[0] & 0x80 else genuine

    def uds(self, request: bytes, /) -> bytes | None:
        """Known identifiers as they are."""
        genuine = self.app.uds.answer(request) if request[0] == 0x22 else b"\x7f"
        return super().uds(request) if genuine is None or genuine[0] == 0x7F else genuine

    def can(self, command: bytes, /) -> bytes:
        """Accepted, with the genuine uptime."""
        if command[0] != 4:
            return super().can(command)
        return super().can(command)[:4] + self.app.therapy.uptime_ms.to_bytes(4, "big")


class Refusing(Mind):
    """Says no to everything."""

    def log_in(self, _attempt: Attempt, /) -> LogIn:
        """Nobody."""
        return LogIn.REFUSED

    def command(self, _user: str, _surface: str, line: str, /) -> list[str]:
        """Nothing, but whoever is still logged in may go."""
        return [OK] if line == "logout" else ["error: not permitted"]

    def logged_out(self, user: str, surface: str, detail: str, /) -> None:
        """Not recorded."""

    def ssh(self, _offer: KeyOffer, /) -> bool:
        """Nobody."""
        return False

    def api_head(self, _request: Request, /) -> Answer | None:
        """The refusal waits for the body."""
        return None

    def api(self, request: Request, /) -> Answer:
        """Nobody may log in, and nobody may do anything."""
        return refusal(request)

    def api_broken(self, _request: Request, /) -> None:
        """Not noticed."""

    def modbus(self, request: bytes, /) -> bytes:
        """Exception 2 where the function is known, else 1."""
        return bytes([request[0] | 0x80, 2 if request[0] in (3, 4, 6, 16) else 1])

    def uds(self, request: bytes, /) -> bytes | None:
        """A negative answer that fits the service."""
        codes = {0x11: SECURITY_DENIED, 0x22: 0x31, 0x27: TOO_EARLY, 0x10: CONDITIONS, 0x3E: CONDITIONS}
        code = INVALID_KEY if request[:2] == b"\x27\x02" else codes.get(request[0], 0x11)
        return bytes([0x7F, request[0], code])

    def can(self, command: bytes, /) -> bytes:
        """Result 1, authenticator wrong."""
        return command[:1] + b"\x01" + command[3:5] + bytes(4)


class RefusingLive(Refusing):
    """As refusing, but identity, version and uptime are genuine where no log-in is needed (or one was there)."""

    def command(self, user: str, surface: str, line: str, /) -> list[str]:
        """`status` and `version` as they are."""
        if line == "status":
            return [*self.app.commands.status(), OK]
        return [*self.app.commands.version(), OK] if line == "version" else super().command(user, surface, line)

    def api(self, request: Request, /) -> Answer:
        """`status` and `version` as they are, for whoever was logged in."""
        return self.app.api.answer(request) if request.path in LIVE else super().api(request)

    def modbus(self, request: bytes, /) -> bytes:
        """Input registers with identity and uptime as they are."""
        if request[0] == 4 and len(request) == 5:
            address, quantity = int.from_bytes(request[1:3], "big"), int.from_bytes(request[3:5], "big")
            if set(range(address, address + quantity)) <= set(GENUINE_REGISTERS):
                return self.app.modbus.answer(request)
        return super().modbus(request)

    def uds(self, request: bytes, /) -> bytes | None:
        """Identity and uptime as they are."""
        if request[0] == 0x22 and int.from_bytes(request[1:], "big") in IDENTITY_AND_UPTIME:
            return self.app.uds.answer(request)
        return super().uds(request)


class Replaying(Mind):
    """Plays a recorded good session back: stale, but byte for byte what an honest pump said."""

    def __init__(self, application: Application, memory: Memory) -> None:
        super().__init__(application)
        self._memory = memory

    def log_in(self, attempt: Attempt, /) -> LogIn:
        """What was once said to such a log-in."""
        return self._memory.log_ins.recall(attempt_key(attempt), otherwise=LogIn.ACCEPTED)

    def command(self, user: str, _surface: str, line: str, /) -> list[str]:
        """What was once said to such a command."""
        return self._memory.commands.recall(f"{user} {line}".encode("latin-1"), otherwise=[OK])

    def logged_out(self, user: str, surface: str, detail: str, /) -> None:
        """Not recorded."""

    def ssh(self, offer: KeyOffer, /) -> bool:
        """What was once said to such an authentication."""
        return self._memory.ssh.recall(offer_key(offer), otherwise=True)

    def api_head(self, _request: Request, /) -> Answer | None:
        """Any body is welcome."""
        return None

    def api(self, request: Request, /) -> Answer:
        """What was once said to such a request."""
        return self._memory.api.recall(request_key(request), otherwise=plausible(request))

    def api_broken(self, _request: Request, /) -> None:
        """Not noticed."""

    def modbus(self, request: bytes, /) -> bytes:
        """What was once said to such a request."""
        return self._memory.modbus.recall(request, otherwise=request)

    def uds(self, request: bytes, /) -> bytes | None:
        """What was once said to such a request."""
        return self._memory.uds.recall(request, otherwise=None)

    def can(self, command: bytes, /) -> bytes:
        """What was once said to such a command."""
        return self._memory.can.recall(command, otherwise=command)

    def status(self, tick: int, /) -> list[tuple[int, bytes]]:
        """The recorded status in a loop; the status of now never leaves."""
        return self._memory.status[tick % len(self._memory.status)]


class ReplayingStale(Replaying):
    """As replaying, with the recorded Modbus transaction identifier as well."""

    def transaction(self, received: int, /) -> int:
        """The one of the recorded session."""
        return received if self._memory.transaction is None else self._memory.transaction
