"""The service dialogue of console and SSH menu (VP1-ICD §2 and §3), without any input or output of its own."""

from __future__ import annotations

from collections.abc import Callable, Set
from enum import Enum, auto
from typing import Protocol

from accounts import Attempt, LogIn
from mind import Mind
from users import Role

LINE_LIMIT = 120
IDLE_S = 20.0
LOGIN_S = 60.0
"""How long the SSH menu waits for a log-in."""


BANNER = "\r\nMeridian VP-1 volumetric infusion pump\r\nAuthorised users only. Activity is recorded.\r\n"
PROMPT = "VP-1> "
LOGIN_PROMPT = "login: "
PASSWORD_PROMPT = "password: "

_REFUSALS = {
    LogIn.REFUSED: "error: login refused",
    LogIn.LOCKED: "error: account locked",
    LogIn.UNKNOWN: "error: unknown user",
}


class Timer(Protocol):
    """What `later` returns."""

    def cancel(self) -> None:
        """Forget it."""


Later = Callable[[float, Callable[[], None]], Timer]
"""Call something after so many seconds."""


class Stage(Enum):
    """What the dialogue waits for."""

    USER = auto()
    PASSWORD = auto()
    COMMAND = auto()


class Dialogue:
    """Line editor, log-in and prompt of one terminal.

    `mind` is asked anew for every decision, so that a lie takes effect at once. `hang_up` ends the connection
    after log-out; on the console, which cannot hang up, it is None and the log-in prompt returns.
    """

    def __init__(
        self,
        *,
        mind: Callable[[], Mind],
        write: Callable[[bytes], None],
        later: Later,
        surface: str,
        connection: str,
        barred: Set[Role] = frozenset(),
        hang_up: Callable[[], None] | None = None,
    ) -> None:
        self._mind = mind
        self._write = write
        self._later = later
        self._surface = surface
        self._connection = connection
        self._barred = barred
        self._hang_up = hang_up
        self._line = bytearray()
        self._length = 0
        self._after_cr = False
        self._stage = Stage.USER
        self._user = ""
        self._idle: Timer | None = None

    def open(self) -> None:
        """Print the banner and the first prompt; a connection that does not log in ends after a while."""
        self._print(BANNER + self._mind().greeting(self._surface) + LOGIN_PROMPT)
        if self._hang_up is not None:
            self._idle = self._later(LOGIN_S, self._hang_up)

    def close(self) -> None:
        """Nobody is there any more: stop the clock."""
        self._cancel_idle()

    def peer_gone(self) -> None:
        """The connection broke; a session still logged in ends with it."""
        if self._stage is Stage.COMMAND:
            self._stage = Stage.USER
            self._mind().logged_out(self._user, self._surface, "disconnected")

    def log_off(self, user: str | None) -> None:
        """End the session if it is this user's; None: whoever's."""
        if self._stage is Stage.COMMAND and user in (None, self._user):
            self._print("\r\n")
            self._log_out(detail="ended", answer=["info: logged off"])

    def feed(self, data: bytes) -> None:
        """Bytes from the user."""
        if self._stage is Stage.COMMAND:
            self._restart_idle()
        for byte in data:
            self._key(byte)

    def _key(self, byte: int) -> None:
        after_cr, self._after_cr = self._after_cr, byte == 0x0D
        if byte == 0x0A and after_cr:
            return
        if byte in (0x0D, 0x0A):
            self._end_of_line()
        elif byte in (0x08, 0x7F):
            self._erase()
        elif byte in (0x03, 0x04):
            self._clear()
            self._print("\r\n" + self._prompt())
        elif byte >= 0x20:
            self._length += 1
            if self._length <= LINE_LIMIT:
                self._line.append(byte)
                if self._stage is not Stage.PASSWORD:
                    self._write(bytes([byte]))

    def _erase(self) -> None:
        if self._length > LINE_LIMIT:
            self._length -= 1
        elif self._line:
            self._length -= 1
            self._line.pop()
            if self._stage is not Stage.PASSWORD:
                self._write(b"\b \b")

    def _clear(self) -> None:
        self._line.clear()
        self._length = 0

    def _end_of_line(self) -> None:
        line, too_long = bytes(self._line), self._length > LINE_LIMIT
        self._clear()
        self._print("\r\n")
        if too_long:
            if self._stage is Stage.PASSWORD:
                self._stage = Stage.USER
            self._answer(["error: line too long"])
        elif self._stage is Stage.USER:
            self._user = line.decode("latin-1").strip()
            if self._user:
                self._stage = Stage.PASSWORD
            self._print(self._prompt())
        elif self._stage is Stage.PASSWORD:
            self._log_in(line)
        else:
            self._command(line.decode("latin-1").strip())

    def _log_in(self, password: bytes) -> None:
        self._stage = Stage.USER
        attempt = Attempt(
            user=self._user,
            password=password,
            surface=self._surface,
            connection=self._connection,
            barred=self._barred,
        )
        result = self._mind().log_in(attempt)
        if result is LogIn.ACCEPTED:
            self._stage = Stage.COMMAND
            self._restart_idle()
            self._answer([f"ok: logged in as {self._user}"])
        else:
            self._answer([_REFUSALS[result]])

    def _command(self, line: str) -> None:
        if not line:
            self._print(PROMPT)
            return
        answer = self._mind().command(self._user, self._surface, line)
        if line == "logout" and answer[-1] == "ok":
            self._log_out(detail="-", answer=answer)
        else:
            self._answer(answer)

    def _log_out(self, *, detail: str, answer: list[str]) -> None:
        self._cancel_idle()
        self._clear()
        self._stage = Stage.USER
        self._mind().logged_out(self._user, self._surface, detail)
        if self._hang_up is None:
            self._answer(answer)
        else:
            self._print("".join(f"{line}\r\n" for line in answer))
            self._hang_up()

    def _idle_too_long(self) -> None:
        if not self._mind().ends_idle_sessions:
            self._restart_idle()
            return
        left = IDLE_S - self._mind().input_elsewhere
        if left > 0:
            self._idle = self._later(left, self._idle_too_long)
            return
        self._print("\r\n")
        self._log_out(detail="idle", answer=["info: logged off after idle time"])

    def _restart_idle(self) -> None:
        self._cancel_idle()
        self._idle = self._later(IDLE_S, self._idle_too_long)

    def _cancel_idle(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None

    def _prompt(self) -> str:
        return {Stage.USER: LOGIN_PROMPT, Stage.PASSWORD: PASSWORD_PROMPT, Stage.COMMAND: PROMPT}[self._stage]

    def _answer(self, lines: list[str]) -> None:
        self._print("".join(f"{line}\r\n" for line in lines) + self._prompt())

    def _print(self, text: str) -> None:
        self._write(text.encode("latin-1"))
