"""Control by a person at the bench: asked on the terminal what to do, and to say by name that it is done.

The terminal is the process's own (`/dev/tty`), whatever standard input and output are. Without one, or in the
background of one, the control cannot be made; a question nobody answers in time is the last one.
"""

from __future__ import annotations

import contextlib
import os
import select
import termios
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from harness.clean import show_text
from harness.control.base import Capability, ControlEvent, Deadline, EventKind, EventLog, Incapable, no_capability
from harness.control.medium import MediumImage
from harness.errors import ControlFault, UsageError
from harness.rig.control_specs import OperatorControlSpec

__all__ = ["OperatorControl", "check_terminal"]

_TERMINAL = "/dev/tty"
_LONGEST = 60
"""Characters kept of what a person types, but for a path."""
_LONGEST_PATH = 1000
_ANSWERS = {"yes": "yes", "y": "yes", "no": "no", "n": "no"}


def check_terminal() -> None:
    """Make sure that there is a person to ask.

    Raises:
        UsageError: the process has no terminal, or is not in its foreground.
    """
    with _terminal():
        pass


@contextlib.contextmanager
def _terminal() -> Iterator[int]:
    hint = "run in the foreground of a terminal, or give the rig a control that needs nobody"
    try:
        descriptor = os.open(_TERMINAL, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise UsageError(
            f"control `operator` asks a person, but there is no terminal: {error.strerror}", hint=hint
        ) from error
    try:
        if os.tcgetpgrp(descriptor) != os.getpgrp():
            # Reading would stop the whole run (SIGTTIN).
            raise UsageError(
                "control `operator` asks a person, but the run is in the background of its terminal", hint=hint
            )
        yield descriptor
    finally:
        os.close(descriptor)


class OperatorControl(Incapable):
    """Has a person switch the power, pull the reset or take the medium out.

    `unit` names the device, for the person. `note` is told of each question: an event and its fields, `who` and
    `answer` among them. `image` is what is kept of the medium, where the rig file says how it is taken out.

    Raises:
        UsageError: there is no terminal to ask on.
    """

    kind = "operator"

    def __init__(
        self,
        spec: OperatorControlSpec,
        *,
        unit: str,
        note: Callable[[str, dict[str, Any]], None],
        image: MediumImage | None = None,
    ) -> None:
        check_terminal()
        self._spec = spec
        self._unit = unit
        self._note = note
        self._image = image
        self._events = EventLog()
        self._powered = True
        self._absent = ""

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Power; reset and storage where the rig file says how. Never a cut: a person is not there at once."""
        reset = {Capability.RESET} if self._spec.reset else set()
        storage = {Capability.STORAGE} if self._spec.storage is not None else set()
        return frozenset({Capability.POWER} | reset | storage)

    @property
    def events(self) -> tuple[ControlEvent, ...]:
        """Only what was asked."""
        return self._events.all()

    def power_on(self) -> None:
        """Have the power switched on; returns when the person says that it is."""
        self._ask("power on", self._spec.power_on)
        self._powered = True

    def power_off(self) -> None:
        """Have the power switched off; returns when the person says that it is."""
        self._ask("power off", self._spec.power_off)
        self._powered = False
        self._events.add(EventKind.SHUTDOWN, asked=True, detail="by a person")

    def reset(self) -> None:
        """Have the reset pulled; returns when the person says that it was."""
        if not self._spec.reset:
            raise no_capability(self.kind, Capability.RESET)
        self._ask("reset", self._spec.reset)
        self._events.add(EventKind.RESET, asked=True, detail="by a person")

    def storage(self) -> Path:
        """Have the medium taken out, read it where the person says that it is, and have it put back.

        Raises:
            ControlFault: the device has power, the medium cannot be read, or the person could not do it.
        """
        spec, image = self._spec.storage, self._image
        if spec is None or image is None:
            raise no_capability(self.kind, Capability.STORAGE)
        if self._powered:
            raise ControlFault("the storage is read out of a device without power", hint="power_off first")
        source = self._ask("medium out", spec.take_out, confirm=partial(_ask_path, image=image))
        try:
            return image.copy(Path(source))
        finally:
            self._ask("medium back", spec.put_back)

    def alive(self) -> bool:
        """What was confirmed last; before that, true."""
        return self._powered

    def close(self) -> None:
        """Leaves the device as it is; the image of its medium goes."""
        if self._image is not None:
            self._image.close()

    def _ask(self, event: str, instruction: str, *, confirm: Callable[[_Talk], str] | None = None) -> str:
        """Tell a person what to do, wait for name and confirmation, and return the confirmation.

        Raises:
            ControlFault: not confirmed: no, no answer in time, the terminal is gone, or nobody answered before.
        """
        if self._absent:
            raise ControlFault(f"{event}: not asked: {self._absent}", hint="be at the bench, and run again")
        began = time.monotonic()
        who, answer = "", "none"
        try:
            with _terminal() as descriptor:
                talk = _Talk(descriptor, timeout=self._spec.timeout)
                talk.say(
                    f"\n\nThe bench needs you: {event}, {self._unit}\n    {instruction}\n"
                    f"Nothing goes on until you have answered; you have {self._spec.timeout:g} s.\n"
                )
                while not who:
                    who = talk.ask("Your name or initials: ")
                answer = (confirm or _ask_done)(talk)
        except UsageError as error:
            self._absent = error.message
        except OSError as error:
            self._absent = str(error.strerror or error)
        self._note(event, {"who": who, "answer": answer, "seconds": round(time.monotonic() - began, 1)})
        if self._absent:
            raise ControlFault(f"{event}: {self._absent}", hint="be at the bench, and run again")
        if answer == "no":
            raise ControlFault(f"{event}: {who} says that it could not be done", hint="see to the bench, and run again")
        return answer


class _Talk:
    """Lines to and from a person, until a deadline. What was typed before a question is no answer to it."""

    def __init__(self, descriptor: int, *, timeout: float) -> None:
        self._descriptor = descriptor
        self._timeout = timeout
        self._deadline = Deadline(timeout)
        termios.tcflush(descriptor, termios.TCIFLUSH)

    def say(self, text: str) -> None:
        """Show a text.

        Raises:
            OSError: the terminal is gone, or takes nothing.
        """
        os.write(self._descriptor, text.encode())

    def ask(self, question: str, *, longest: int = _LONGEST) -> str:
        """Ask and return the line that is typed, cleaned; empty if nothing is.

        Raises:
            TimeoutError: nobody answers.
            OSError: the terminal is gone.
        """
        self.say(question)
        if not select.select([self._descriptor], [], [], self._deadline.left())[0]:
            self.say("\nToo late.\n")
            raise TimeoutError(f"nobody answered within {self._timeout:g} s")
        typed = os.read(self._descriptor, 4096)  # the terminal hands over one line at a time
        if not typed:
            raise OSError("the terminal was closed before an answer")
        return " ".join(show_text(typed.decode(errors="replace"), limit=longest).split())


def _ask_done(talk: _Talk) -> str:
    """Ask until the answer is `yes` or `no`; return it."""
    while True:
        if answer := _ANSWERS.get(talk.ask("Is it done? yes or no: ").lower()):
            return answer


def _ask_path(talk: _Talk, *, image: MediumImage) -> str:
    """Ask until the answer is the path of a medium that can be read, or `no`; return it."""
    while True:
        said = talk.ask("Path of the medium on this computer, or of a copy of it; or no: ", longest=_LONGEST_PATH)
        if _ANSWERS.get(said.lower()) == "no":
            return "no"
        if not said.startswith("/"):
            talk.say("Give the whole path, as /dev/sdb or /media/copy.img.\n")
            continue
        try:
            image.check(Path(said))
        except ControlFault as fault:
            talk.say(f"{fault}\n")
        else:
            return said
