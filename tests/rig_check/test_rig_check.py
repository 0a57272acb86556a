"""The walk over every operation: of the honest sham, of liars, and of a sham wired like a bench that nothing resets."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.clean import Masker
from harness.control.process import ProcessControl
from harness.device.outcomes import Accepted, NoAnswer, Refused, Unintelligible
from harness.rig.loading import load_device
from harness.rig_check.trials import Answer, judged
from harness.verdict import EXIT_INCONCLUSIVE, EXIT_USAGE

ROOT = Path(__file__).parents[2]
SHAM = ROOT / "tests/sham/rig.yaml"
DEVICE = ROOT / "rigs/devices/infusion-pump.yaml"
BENCH = """\
rig: desk
device: pump.yaml
item: {{serial: VP1-000417, grade: engineering}}
permits: [accounts]
answer_within: 1.0
links:
  console: {{type: serial, port: 'unix:{run_dir}/console.sock'}}
  modbus-rtu: {{type: modbus-rtu, port: 'unix:{run_dir}/rtu.sock'}}
"""

Rows = dict[tuple[str, str], list[str]]


def check(rig: Path, *options: str, lie: str = "honest") -> tuple[int, str, Rows]:
    """Run the command; return its exit code, what it printed, and the rows of operations by surface and operation."""
    done = subprocess.run(
        [sys.executable, "-m", "harness.cli", "rig", "check", *options, str(rig)],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "300", "SHAM_LIE": lie},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert "Traceback" not in done.stdout + done.stderr
    rows: Rows = {}
    surface = ""
    for line in done.stdout.partition("operations")[2].splitlines():
        cells = [cell.strip() for cell in line.split("│")[1:-1]]
        if len(cells) == 5:
            surface = cells[0] or surface
            rows[surface, cells[1]] = cells[2:]
    return done.returncode, done.stdout + done.stderr, rows


# The sham


def test_what_reads_is_tried_by_who_may_and_what_changes_is_named() -> None:
    code, said, rows = check(SHAM)
    assert code == 0, said
    assert {surface for surface, _ in rows} == set(load_device(DEVICE)[0].surfaces)
    assert rows["console", "status"][:2] == ["operator", Answer.ACCEPTED]
    assert rows["console", "diagnostics"][:2] == ["service", Answer.ACCEPTED]
    assert rows["api", "backup"][:2] == ["admin", Answer.ACCEPTED]
    assert "version 1.0.0" in rows["ssh-menu", "version"][2]
    assert rows["uds", "read serial"][1:] == [Answer.ACCEPTED, "VP1-000417"]
    for surface in ("console", "ssh-menu", "api", "modbus-tcp", "uds", "can-commands"):
        assert rows[surface, "what it does not have"][1] == Answer.REFUSED
    changing = {
        ("console", "start"): "changes configuration",
        ("api", "user-add"): "changes accounts",
        ("api", "factory-reset"): "changes something for good, if it is not refused as it must be",
        ("api", "reboot"): "changes the running state",
        ("modbus-tcp", "write brightness"): "changes configuration",
        ("uds", "reset"): "changes the running state",
        ("can-commands", "stop"): "changes what nobody has declared",
    }
    for row, why in changing.items():
        assert rows[row] == ["", Answer.UNTRIED, why], row
    assert "may have changed" not in said


def test_what_changes_is_tried_when_asked_for_and_permitted() -> None:
    code, said, rows = check(SHAM, "--all")
    assert code == 0, said
    assert rows["api", "set-ward"][:2] == ["admin", Answer.ACCEPTED]
    assert rows["api", "factory-reset"][1] == Answer.REFUSED
    assert rows["api", "reboot"] == ["", Answer.UNTRIED, "changes the running state; this rig does not permit it"]
    changed = said.partition("may have changed the device, and nothing was undone:")[2]
    assert "api set-ward" in changed
    assert "api factory-reset" not in changed


def test_a_mute_device_answers_nothing_and_is_left_alone() -> None:
    code, said, rows = check(SHAM, lie="mute")
    assert code == EXIT_INCONCLUSIVE
    assert {cells[1] for cells in rows.values()} == {Answer.SILENT, Answer.UNTRIED}
    tried = [surface for (surface, _), cells in rows.items() if cells[1] == Answer.SILENT]
    assert all(tried.count(surface) <= 2 for surface in tried)
    assert "the identity cannot be read" in said


def test_who_accepts_everything_is_found_out() -> None:
    code, _, rows = check(SHAM, lie="accept-live")
    assert code == EXIT_INCONCLUSIVE
    assert rows["console", "what it does not have"][1] == Answer.ACCEPTED
    assert rows["console", "what it does not have"][2].endswith("(it must be refused)")
    assert rows["console", "config"][1] == Answer.UNINTELLIGIBLE
    assert rows["console", "config"][2].startswith("no ward_name in the answer: config")


def test_babble_is_shown_cleaned() -> None:
    code, said, rows = check(SHAM, lie="babble")
    assert code == EXIT_INCONCLUSIVE
    assert Answer.UNINTELLIGIBLE in {cells[1] for cells in rows.values()}
    assert not {char for char in said if ord(char) < 32 and char != "\n"}


def test_another_unit_is_not_walked() -> None:
    code, said, rows = check(SHAM, lie="wrong-unit")
    assert (code, rows) == (EXIT_INCONCLUSIVE, {})
    assert "another device answers" in said
    assert "no operation was tried" in said


def test_what_a_program_said_before_it_ended_is_shown() -> None:
    code, said, _ = check(SHAM, lie="no-such-lie")
    assert code == EXIT_INCONCLUSIVE
    assert "the device program said:" in said
    assert "invalid choice: 'no-such-lie'" in said


def test_a_mistake_is_a_message(tmp_path: Path) -> None:
    code, said, _ = check(tmp_path / "none.yaml")
    assert code == EXIT_USAGE
    assert "none.yaml" in said


# A bench: the device outlives the check


@pytest.fixture(name="pump")
def _pump(tmp_path: Path) -> Iterator[ProcessControl]:
    """A sham that the rig file `desk.yaml` is wired to, and cannot restart."""
    argv = [sys.executable, str(ROOT / "tests/sham/device.py"), "--run-dir", "{run_dir}", "--address", "{address}"]
    control = ProcessControl(argv, log=tmp_path / "device.log")
    try:
        control.power_on()
        (tmp_path / "desk.yaml").write_text(BENCH.format(run_dir=control.run_dir), encoding="utf-8")
        yield control
    finally:
        control.close()


def device(tmp_path: Path, *changes: tuple[str, str], claims: bool = True) -> None:
    """Write the pump's device file with some texts replaced; a second surface is on the console, too."""
    text = DEVICE.read_text(encoding="utf-8")
    twice = [
        ("surfaces:\n  console:\n", "surfaces:\n  console: &console\n"),
        ("\n  modbus-tcp: &modbus", "\n  again: *console\n\n  modbus-tcp: &modbus"),
        ("surfaces: [console, ssh-menu]\n    allowed:", "surfaces: [console, again, ssh-menu]\n    allowed:"),
    ]
    for old, new in [*twice, *changes]:
        assert old in text
        text = text.replace(old, new, 1)
    if not claims:
        text = text.partition("\nclaims:")[0] + "\nclaims: {}\n"
    (tmp_path / "pump.yaml").write_text(text, encoding="utf-8")


def audit(pump: ProcessControl) -> list[str]:
    """Read the audit log on the console, as the administrator, with no help of the harness."""
    with socket.socket(socket.AF_UNIX) as console:
        console.connect(f"{pump.run_dir}/console.sock")
        console.settimeout(5)
        said = b""
        for prompt, line in ((b"login: ", b"admin"), (b"password: ", b"Summit-52-Lantern"), (b"VP-1> ", b"audit 200")):
            console.sendall(b"\r" if prompt == b"login: " else b"")
            while not said.endswith(prompt):
                said += console.recv(65536)
            said = b""
            console.sendall(line + b"\r")
        deadline = time.monotonic() + 5
        while not said.endswith(b"VP-1> ") and time.monotonic() < deadline:
            said += console.recv(65536)
        console.sendall(b"logout\r")
    return [line for line in said.decode().splitlines() if line.startswith("audit: ")]


WRONG = [("Drip-7-Harbour", "Drip-8-Harbour"), ("Valve-31-Copper", "Valve-32-Copper")]
ON_THE_CONSOLE = ("identity: modbus-tcp", "identity: console")


def test_a_refused_log_in_is_spent_once_an_account(pump: ProcessControl, tmp_path: Path) -> None:
    device(tmp_path, *WRONG, ON_THE_CONSOLE)
    code, said, rows = check(tmp_path / "desk.yaml")
    assert code == EXIT_INCONCLUSIVE
    assert "not let in, and not tried again: operator (on console), service (on console)" in said
    for surface in ("console", "again"):
        for account in ("operator", "service"):
            cells = rows[surface, f"log in {account}"]
            assert cells[1] == Answer.UNTRIED
            assert f"{account} was not let in on console; not tried again" in cells[2]
        assert rows[surface, "diagnostics"][1:] == [Answer.UNTRIED, "no account that may do it got in"]
        assert rows[surface, "audit"][:2] == ["admin", Answer.ACCEPTED]
    assert rows["ssh-menu", "all"][1:] == [Answer.UNTRIED, "link ssh is not wired on this rig"]
    records = audit(pump)
    for account in ("operator", "service"):
        refused = [line for line in records if f"user={account} " in line and "result=refused" in line]
        assert len(refused) == 1, "\n".join(records)


def test_nobody_is_locked_out_where_no_password_is_right(pump: ProcessControl, tmp_path: Path) -> None:
    device(tmp_path, *WRONG, ("Summit-52-Lantern", "Summit-53-Lantern"), ON_THE_CONSOLE)
    code, said, rows = check(tmp_path / "desk.yaml")
    assert code == EXIT_INCONCLUSIVE
    assert "the identity cannot be read on console: refused" in said
    assert rows["modbus-rtu", "read serial"][1:] == [Answer.ACCEPTED, "VP1-000417"]
    records = audit(pump)  # the administrator is let in
    refused = [line for line in records if "event=login" in line and "result=refused" in line]
    assert len(refused) == 3, "\n".join(records)


@pytest.mark.usefixtures("pump")
def test_without_claims_each_account_is_asked_until_one_may(tmp_path: Path) -> None:
    device(tmp_path, ("identity: modbus-tcp", "identity: modbus-rtu"), claims=False)
    code, said, rows = check(tmp_path / "desk.yaml")
    assert code == 0, said
    assert rows["console", "status"][:2] == ["operator", Answer.ACCEPTED]
    assert rows["console", "diagnostics"][:2] == ["service", Answer.ACCEPTED]
    assert rows["console", "audit"][:2] == ["admin", Answer.ACCEPTED]


def test_a_rig_that_permits_little_has_little_changed(pump: ProcessControl, tmp_path: Path) -> None:
    device(tmp_path, ("identity: modbus-tcp", "identity: modbus-rtu"))
    code, said, rows = check(tmp_path / "desk.yaml", "--all")
    assert code == 0, said
    assert rows["console", "unlock"][:2] == ["admin", Answer.ACCEPTED]
    assert rows["console", "stop"] == ["", Answer.UNTRIED, "changes configuration; this rig does not permit it"]
    assert "stop" not in {event for line in audit(pump) for event in line.split() if event == "event=stop"}
    assert not any("event=stop" in line or "event=config" in line for line in audit(pump))


# What is shown of an answer


@given(st.binary(max_size=400), st.text(max_size=200))
def test_nothing_a_device_says_acts_on_the_terminal(data: bytes, reason: str) -> None:
    masker = Masker(["Drip-7-Harbour"])
    for outcome in (
        Accepted(None, received=data),
        Refused(reason, received=data),
        NoAnswer(reason),
        Unintelligible(reason, received=data + b"Drip-7-Harbour"),
    ):
        trial = judged("console", "status", outcome, masker=masker, value=reason)
        acting = [char for char in trial.detail if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp")]
        assert acting == [], trial.detail
        assert len(trial.detail) < 260
        assert "Drip-7-Harbour" not in trial.detail
        assert trial.good is isinstance(outcome, Accepted)
