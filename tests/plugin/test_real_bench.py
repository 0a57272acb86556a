"""Runs on a rig that is wired like a bench: its power comes from a supply, or from a person.

The device is the sham pump, which loses its power only where it says so: what is tested is the bench.
"""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from adapter import Adapter
from runs import ROOT, Outcome, command, run

from harness.control.process import ProcessControl
from harness.verdict import EXIT_INCONCLUSIVE, EXIT_USAGE

sys.path.insert(0, str(ROOT / "tests/control"))
from labgrid_lab import CLIENT, Lab  # noqa: E402 - found by the line above
from scpi_supply import SupplyServer, told  # noqa: E402

BODY = """
@case_of("T-1", needs=["power"])
def test_1(case):
    case.attack("modbus-rtu", "a read")
    case.check("the version", held=True, expected="1", observed="1", claim="VERSION")
@case_of("T-2", needs=["cut"])
def test_2(case):
    case.bench.power_cycle()
    case.bench.start_watches()
    case.attack("modbus-rtu", "a read")
    case.check("the version", held=True, expected="1", observed="1", claim="VERSION")
"""
MEDIUM = """
@case_of("T-3", needs=["power", "storage"])
def test_3(case):
    case.judge_watches()
    case.bench.power_off()
    held = case.bench.control.storage().read_bytes() == b"what the card holds"
    case.bench.power_on()
    case.bench.start_watches()
    case.attack("modbus-rtu", "the medium is read")
    case.check("the medium", held=held, expected="what the card holds", observed="another one", claim="VERSION")
"""
RIG = """\
rig: real-bench
device: pump.yaml
item: {{serial: VP1-000417, grade: engineering}}
control: {control}
{more}
links:
  modbus-rtu: {{type: modbus-rtu, port: 'unix:{port}'}}
"""


@pytest.fixture
def device(tmp_path: Path) -> Iterator[ProcessControl]:
    """A sham pump that has power."""
    sham = [sys.executable, str(ROOT / "tests/sham/device.py"), "--run-dir", "{run_dir}"]
    device = ProcessControl([*sham, "--data", "{data_dir}/medium", "--address", "{address}"], log=tmp_path / "sham.log")
    device.power_on()
    yield device
    device.close()
    device.holder.close()


@pytest.fixture
def rig(tmp_path: Path, device: ProcessControl) -> Iterator[Callable[..., Path]]:
    """Writes rig files for the sham pump behind a serial adapter."""
    adapter = Adapter(tmp_path / "adapter.sock", device=device.run_dir / "rtu.sock")
    text = (ROOT / "rigs/devices/infusion-pump.yaml").read_text()
    text = re.sub(r"(?m)^identity: .*", "identity: modbus-rtu", text)
    (tmp_path / "pump.yaml").write_text(text.replace("surface: modbus-tcp, field", "surface: modbus-rtu, field"))

    def write(control: str, *, more: str = "") -> Path:
        path = tmp_path / "rig.yaml"
        path.write_text(RIG.format(control=control, more=more, port=tmp_path / "adapter.sock"))
        return path

    yield write
    adapter.close()


@pytest.fixture
def supply() -> Iterator[SupplyServer]:
    server = SupplyServer()
    yield server
    server.close()


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(tmp_path)
    yield lab
    lab.close()


def scpi(server: SupplyServer) -> str:
    return (
        f"{{type: scpi, resource: '{server.resource}', identity: PSU0042, on_volts: {{least: 4.75, most: 5.25}}, "
        "on_amps: {least: 0, most: 1}, settle: 0.5, timeout: 2}"
    )


def events(outcome: Outcome) -> list[tuple[str, str]]:
    return [(each.data["source"], each.data["event"]) for each in outcome.journal.of("event")]


def test_a_supply_gives_power_before_the_first_testcase_and_takes_it(
    tmp_path: Path, rig: Callable[..., Path], supply: SupplyServer
) -> None:
    outcome = run(tmp_path, BODY, rig=rig(scpi(supply)))
    assert outcome.verdicts["test_1"] == "PASS", outcome.output
    assert told(supply.supply) == ["OUTP ON", "OUTP OFF", "OUTP ON"]
    assert [each.data["action"] for each in outcome.journal.of("power")] == ["on", "cut", "on"]
    wanted = [("scpi", "supply"), ("scpi", "power on"), ("scpi", "power off"), ("scpi", "power on")]
    assert [each for each in events(outcome) if each[0] == "scpi"] == wanted
    on = next(each for each in outcome.journal.of("event") if each.data["event"] == "power on")
    assert on.data["volts"] == 5.0
    assert on.data["amps"] == 0.25


def test_a_supply_that_lies_leaves_everything_undecided(
    tmp_path: Path, rig: Callable[..., Path], supply: SupplyServer
) -> None:
    supply.supply.lie = "still live"
    outcome = run(tmp_path, BODY, rig=rig(scpi(supply)))
    assert set(outcome.verdicts.values()) == {"INCONCLUSIVE"}, outcome.output
    assert outcome.code == EXIT_INCONCLUSIVE
    assert "it still measures a voltage (output OFF, 5 V" in outcome.reason("test_1")


def test_a_nightly_run_is_not_held_up_by_a_rig_that_needs_a_person(tmp_path: Path, rig: Callable[..., Path]) -> None:
    argv = command(tmp_path, BODY, rig=rig("{type: operator}"))
    done = subprocess.run(
        argv,
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        start_new_session=True,  # as cron and CI start it
    )
    assert done.returncode == EXIT_USAGE
    assert "there is no terminal" in done.stderr
    assert not (tmp_path / "run").exists(), "something was started"


def test_a_person_cycles_the_power_of_a_run(tmp_path: Path, rig: Callable[..., Path]) -> None:
    body = BODY.replace('needs=["cut"]', 'needs=["power"]')
    argv = command(tmp_path, body, rig=rig("{type: operator, power_off: Pull the plug., timeout: 60}"))
    pid, terminal = pty.fork()
    if pid == 0:  # pragma: no cover  (another process)
        os.chdir(tmp_path)
        os.execv(argv[0], argv)
    shown, answers = "", iter([b"JD\n", b"yes\n", b"KL\n", b"y\n"])
    deadline, done = time.monotonic() + 100, 0
    questions = re.compile(r"Your name or initials: |yes or no: ")
    while time.monotonic() < deadline:
        if not select.select([terminal], [], [], 1)[0]:
            continue
        try:
            shown += os.read(terminal, 4096).decode(errors="replace")
        except OSError:
            break
        while len(questions.findall(shown)) > done:
            os.write(terminal, next(answers))
            done += 1
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    outcome = Outcome(os.waitstatus_to_exitcode(status), shown, tmp_path / "run")
    assert "Pull the plug." in shown
    asked = [each.data for each in outcome.journal.of("event") if each.data["source"] == "operator"]
    assert [(each["event"], each["who"], each["answer"]) for each in asked] == [
        ("power off", "JD", "yes"),
        ("power on", "KL", "yes"),
    ]
    assert [each.data["action"] for each in outcome.journal.of("power")] == ["off", "on"]
    assert outcome.verdicts["test_1"] == "PASS", shown


def labgrid(lab: Lab, **more: str) -> str:
    options = "".join(f", {key}: {value}" for key, value in more.items())
    return f"{{type: labgrid, place: pump, coordinator: '{lab.coordinator}', client: {CLIENT}{options}}}"


def test_a_place_is_acquired_for_a_run_and_switches_the_power_of_the_device(
    tmp_path: Path, rig: Callable[..., Path], device: ProcessControl, lab: Lab
) -> None:
    device.power_off()
    lab.unit.on[3] = False
    lab.unit.switched = lambda port, on: device.power_on() if on else device.power_off()
    lab.medium.write_text("what the card holds")
    path = rig(labgrid(lab, storage=f"{{mux: sd-mux, path: {lab.card}}}"))
    outcome = run(tmp_path, BODY + MEDIUM, rig=path, environment=lab.environment)
    assert outcome.verdicts == {"test_1": "PASS", "test_2": "PASS", "test_3": "PASS"}, outcome.output
    assert lab.unit.told == [(3, True), *[(3, False), (3, True)] * 2]
    assert lab.owner() == "None"
    cycle = ["power off", "power on"]
    read = ["medium to the device", "medium to the bench", "storage", "medium to the device"]
    wanted = ["acquired", "power on", *cycle, "power off", *read, "power on", "released"]
    assert [event for source, event in events(outcome) if source == "labgrid"] == wanted
    assert not (outcome.run_dir / "storage").exists()
    table = command_output("rig", "check", str(path), lab=lab)
    assert "the port is on, as it says" in table
    assert f"place pump at {lab.coordinator} is free" in command_output("doctor", str(path), lab=lab)


def test_a_place_that_somebody_else_has_stops_a_run_before_it_starts(
    tmp_path: Path, rig: Callable[..., Path], lab: Lab
) -> None:
    lab.client("pump", "acquire", user="kim")
    path = rig(labgrid(lab))
    outcome = run(tmp_path, BODY, rig=path, environment=lab.environment)
    assert outcome.code == EXIT_USAGE
    assert "/kim" in outcome.output
    assert "Traceback" not in outcome.output
    assert not outcome.run_dir.exists(), "something was started"
    assert lab.unit.told == []
    assert "/kim" in command_output("doctor", str(path), lab=lab)
    path = rig(labgrid(lab).replace(str(CLIENT), "/nowhere/labgrid-client"))
    assert "/nowhere/labgrid-client is not there" in command_output("doctor", str(path), lab=lab)


def test_a_coordinator_that_is_gone_leaves_everything_undecided(
    tmp_path: Path, rig: Callable[..., Path], lab: Lab
) -> None:
    path = rig(labgrid(lab).replace(lab.coordinator, "127.0.0.1:9"))
    outcome = run(tmp_path, BODY, rig=path, environment=lab.environment)
    assert outcome.code == EXIT_INCONCLUSIVE
    assert set(outcome.verdicts.values()) == {"INCONCLUSIVE"}, outcome.output
    assert "127.0.0.1:9" in outcome.reason("test_1")


def command_output(*command: str, lab: Lab) -> str:
    """What the command prints, in a wide terminal's worth of columns."""
    done = subprocess.run(
        [sys.executable, "-m", "harness.cli", *command],
        cwd=ROOT, env={**lab.environment, "COLUMNS": "400"}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, timeout=120, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stdout
    return done.stdout
