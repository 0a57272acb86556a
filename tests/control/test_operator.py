"""Power by a person: on a real terminal, in a process of its own session; and refused without one."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ASKER = """
import json, sys
from pathlib import Path
from harness.control.medium import MediumImage
from harness.control.operator import OperatorControl
from harness.errors import ProofrigError
from harness.rig.control_specs import OperatorControlSpec
notes, said = [], []
try:
    spec = OperatorControlSpec(**json.loads(sys.argv[1]))
    note = lambda event, data: notes.append([event, data])
    folder = Path(sys.argv[2]).with_name("storage")
    image = MediumImage(folder, limits=spec.storage, note=note) if spec.storage else None
    control = OperatorControl(spec, unit="VP-1 VP1-000417", note=note, image=image)
    for operation in sys.argv[3:]:
        try:
            done = getattr(control, operation)()
            said.append("done" if done is None else done.read_text())
        except ProofrigError as error:
            said.append(str(error))
    said.append(["alive", control.alive()])
    said.append(sorted(control.capabilities))
    said.append([event.kind.value for event in control.events])
except ProofrigError as error:
    said.append(f"{type(error).__name__}: {error}")
open(sys.argv[2], "w").write(json.dumps([notes, said]))
"""


class Person:
    """A person at a terminal on which the asker runs; standard input and output are not the terminal."""

    def __init__(self, folder: Path, operations: tuple[str, ...], settings: dict[str, Any]) -> None:
        self.result = folder / "result.json"
        argv = [sys.executable, "-c", ASKER, json.dumps(settings), str(self.result), *operations]
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:  # pragma: no cover  (another process)
            nowhere = os.open(os.devnull, os.O_RDWR)
            for each in (0, 1):
                os.dup2(nowhere, each)
            os.execv(argv[0], argv)
        self.shown = ""

    def sees(self, pattern: str, *, within: float = 30.0) -> None:
        deadline = time.monotonic() + within
        while not re.search(pattern, self.shown):
            left = deadline - time.monotonic()
            assert left > 0, f"{pattern!r} not shown; seen: {self.shown!r}"
            if select.select([self.terminal], [], [], left)[0]:
                self.shown += os.read(self.terminal, 4096).decode(errors="replace")
        self.shown = re.split(pattern, self.shown, maxsplit=1)[1]

    def types(self, text: bytes) -> None:
        os.write(self.terminal, text)

    def ends(self) -> tuple[list[Any], list[Any]]:
        """Wait for the asker's end; what it noted, and what came of each operation."""
        _, status = os.waitpid(self.pid, 0)
        self.pid = 0
        assert status == 0
        notes, said = json.loads(self.result.read_text())
        return notes, said

    def leave(self) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        if self.terminal >= 0:
            os.close(self.terminal)
            self.terminal = -1


@pytest.fixture
def person(tmp_path: Path) -> Iterator[Callable[..., Person]]:
    made: list[Person] = []

    def make(*operations: str, **settings: Any) -> Person:
        made.append(Person(tmp_path, operations, settings))
        return made[-1]

    yield make
    for each in made:
        each.leave()


def test_a_person_is_told_what_to_do_and_signs_for_it(person: Callable[..., Person]) -> None:
    at = person("power_off", "power_on", "reset", power_off="Pull the plug of outlet 3.", reset="Press S1 for 2 s.")
    at.sees(r"power off, VP-1 VP1-000417\r\n +Pull the plug of outlet 3\.")
    at.sees("Your name or initials: ")
    at.types(b"JD\n")
    at.sees(r"yes or no: ")
    at.types(b"yes\n")
    at.sees("Switch the device on")
    at.sees("initials: ")
    at.types(b"\n")  # nobody's name
    at.sees("initials: ")
    at.types("M. Müller\x1b[2J\n".encode())
    at.sees("no: ")
    at.types(b"perhaps\n")
    at.sees("no: ")
    at.types(b"Y\n")
    at.sees("Press S1 for 2 s")
    at.sees("initials: ")
    at.types(b"JD\n")
    at.sees("no: ")
    at.types(b"y\n")
    notes, said = at.ends()
    assert [(event, data["who"], data["answer"]) for event, data in notes] == [
        ("power off", "JD", "yes"),
        ("power on", r"M. Müller\x1b[2J", "yes"),
        ("reset", "JD", "yes"),
    ]
    assert said == ["done", "done", "done", ["alive", True], ["power", "reset"], ["shutdown", "reset"]]


def test_a_person_who_cannot_do_it_says_so(person: Callable[..., Person]) -> None:
    at = person("power_off", "cut", "reset", "restore")
    at.sees("initials: ")
    at.types(b"JD\n")
    at.sees("no: ")
    at.types(b"no\n")
    notes, said = at.ends()
    assert "JD says that it could not be done" in said[0]
    assert all("no means for" in each for each in said[1:4])
    assert said[4:] == [["alive", True], ["power"], []]
    assert notes[0][1]["answer"] == "no"


def test_what_was_typed_before_the_question_is_no_answer(person: Callable[..., Person]) -> None:
    at = person("power_off", timeout=1.5)
    at.types(b"JD\nyes\n" * 20)  # while it starts
    at.sees("Your name or initials: ")
    notes, said = at.ends()
    assert "nobody answered within 1.5 s" in said[0]
    assert notes[0][1]["who"] == ""


def test_nobody_is_asked_twice(person: Callable[..., Person]) -> None:
    at = person("power_off", "power_on", timeout=0.5)
    at.sees("Too late")
    notes, said = at.ends()
    assert "nobody answered within 0.5 s" in said[0]
    assert "not asked" in said[1]
    assert said[2] == ["alive", True]
    assert [data["answer"] for _, data in notes] == ["none"]


def test_a_closed_terminal_is_no_answer(person: Callable[..., Person]) -> None:
    at = person("power_off")
    at.sees("initials: ")
    at.types(b"\x04")  # end of file
    _, said = at.ends()
    assert "closed before an answer" in said[0]


def test_without_a_terminal_nothing_starts(tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    argv = [sys.executable, "-c", ASKER, "{}", str(result), "power_off"]
    subprocess.run(argv, start_new_session=True, stdin=subprocess.DEVNULL, timeout=60, check=True)
    notes, said = json.loads(result.read_text())
    assert said[0].startswith("UsageError: control `operator` asks a person, but there is no terminal")
    assert notes == []


def test_in_the_background_of_a_terminal_nothing_starts(tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    pid, terminal = pty.fork()
    if pid == 0:  # pragma: no cover  (another process)
        child = subprocess.Popen([sys.executable, "-c", ASKER, "{}", str(result), "power_off"], process_group=0)
        os._exit(child.wait())
    assert os.waitpid(pid, 0)[1] == 0
    os.close(terminal)
    _, said = json.loads(result.read_text())
    assert "in the background of its terminal" in said[0]


def test_the_terminal_is_left_as_it_was(person: Callable[..., Person]) -> None:
    at = person("power_off")
    before = termios.tcgetattr(at.terminal)
    at.sees("initials: ")
    at.types(b"JD\n")
    at.sees("no: ")
    at.types(b"y\n")
    at.ends()
    assert termios.tcgetattr(at.terminal) == before


# Storage

TAKE_OUT = {"take_out": "Take the card out of slot X4.", "most_bytes": 1000}


def confirms(at: Person, instruction: str, who: bytes = b"JD") -> None:
    at.sees(instruction)
    at.sees("initials: ")
    at.types(who + b"\n")
    at.sees("no: ")
    at.types(b"yes\n")


def test_a_person_takes_the_medium_out_says_where_it_is_and_puts_it_back(
    person: Callable[..., Person], tmp_path: Path
) -> None:
    medium = tmp_path / "a copy.img"
    medium.write_text("what was on it")
    (tmp_path / "large.img").write_bytes(bytes(1001))
    at = person("storage", "power_off", "storage", "close", storage=TAKE_OUT)
    confirms(at, "Switch the device off")
    at.sees(r"medium out, VP-1 VP1-000417\r\n +Take the card out of slot X4\.")
    at.sees("initials: ")
    at.types(b"KL\n")
    for said, shown in (
        (b"yes", "Give the whole path"),
        (b"/nowhere", "No such file"),
        (b"/dev/zero", "neither a block device nor a file"),
        (str(tmp_path).encode(), "neither a block device nor a file"),
        (str(tmp_path / "large.img").encode(), "it has 1001 bytes, and the image may have 1000"),
    ):
        at.sees("or no: ")
        at.types(said + b"\n")
        at.sees(shown)
    at.sees("or no: ")
    at.types(f"{medium}\n".encode())
    confirms(at, "Put the medium back into the device", b"MN")
    notes, said = at.ends()
    assert "without power" in said[0]
    assert said[1:4] == ["done", "what was on it", "done"]
    assert said[5] == ["power", "storage"]
    told = [(event, data.get("who"), data.get("answer")) for event, data in notes]
    assert told == [
        ("power off", "JD", "yes"),
        ("medium out", "KL", str(medium)),
        ("storage", None, None),
        ("medium back", "MN", "yes"),
    ]
    assert notes[2][1]["bytes"] == 14
    assert not (tmp_path / "storage").exists()


def test_a_person_who_cannot_take_the_medium_out_says_so(person: Callable[..., Person]) -> None:
    at = person("power_off", "storage", "storage", storage=TAKE_OUT, timeout=60)
    confirms(at, "Switch the device off")
    for answer in (b"no", b"\x04"):
        at.sees("Take the card out")
        at.sees("initials: ")
        at.types(b"JD\n")
        at.sees("or no: ")
        at.types(answer if answer == b"\x04" else answer + b"\n")
    notes, said = at.ends()
    assert "JD says that it could not be done" in said[1]
    assert "closed before an answer" in said[2]
    assert [event for event, _ in notes] == ["power off", "medium out", "medium out"]
