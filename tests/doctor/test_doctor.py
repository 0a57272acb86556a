"""What the doctor sees of this host, of a rig that is not here, and of adapters that somebody has."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import socket
import stat
import subprocess
import sys
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest
import serial
from rich.console import Console

from harness.doctor import Finding, State, adapters, can_interfaces, emulation, host, software
from harness.doctor.examination import examine, table_of
from harness.record_file import SPARE
from harness.rig.loading import load_rig
from harness.rig_lock import lock_rig
from harness.verdict import EXIT_USAGE

ROOT = Path(__file__).parents[2]
SHAM = "tests/sham/rig.yaml"
BENCH = """\
rig: desk
device: {device}
item: {{serial: VP1-000417, grade: engineering}}
links:
  console: {{type: serial, port: {port}}}
  modbus-tcp: {{type: modbus-tcp, host: 127.0.0.1}}
targets: [127.0.0.1]
"""


def doctor(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end, with lines long enough for a row."""
    return subprocess.run(
        [sys.executable, "-m", "harness.cli", "doctor", *arguments],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "300"},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def row(table: str, what: str) -> list[str]:
    """Return the cells of the row about something."""
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.strip("│").split("│")]
        if cells[0] == what:
            return cells
    raise AssertionError(f"no row about {what}:\n{table}")


@pytest.fixture
def line() -> Iterator[Path]:
    """Return a pseudo-terminal, which is a serial device to whoever opens it."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    path = Path(os.ttyname(slave))
    os.close(slave)
    yield path
    os.close(master)


# The command


def test_an_emulated_rig_needs_no_adapter() -> None:
    done = doctor(SHAM)
    assert done.returncode == 0, done.stdout + done.stderr
    assert row(done.stdout, "namespaces")[1] == State.GOOD
    for what in ("QEMU", "link console", "link can", "rig in use", "ways to the device", "Chromium"):
        assert row(done.stdout, what)[1] == State.UNNEEDED
    assert "nothing that is needed is missing" in done.stdout


def test_a_bench_that_is_not_here_lacks_what_it_names_and_nothing_else() -> None:
    done = doctor("rigs/pump-bench.yaml")
    assert done.returncode == EXIT_USAGE
    power = row(done.stdout, "power")
    assert power[1] == State.DOUBTFUL
    assert "198.51.100.20" in power[2]
    for what, seen in (("link console", "A10K3XYZ"), ("link modbus-rtu", "77A1")):
        cells = row(done.stdout, what)
        assert cells[1] == State.MISSING
        assert seen in cells[2]
        assert cells[3], "what to do is said"
    for what in ("QEMU", "firmware image", "namespaces"):
        assert row(done.stdout, what)[1] == State.UNNEEDED
    assert "Traceback" not in done.stdout + done.stderr


def test_a_rig_that_asks_a_person_needs_a_terminal(tmp_path: Path) -> None:
    path = tmp_path / "desk.yaml"
    bench = (ROOT / "rigs/pump-bench.yaml").read_text(encoding="utf-8").replace("devices/", f"{ROOT}/rigs/devices/")
    before, after = bench.split("control:\n", 1)
    rest = re.sub(r"\A(?:  .*\n)+", "  type: operator\n", after)
    path.write_text(f"{before}control:\n{rest}", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "harness.cli", "doctor", str(path)],
        cwd=ROOT, env={**os.environ, "COLUMNS": "300"}, capture_output=True, text=True, timeout=90, check=False,
        start_new_session=True,
    )  # fmt: skip
    assert done.returncode == EXIT_USAGE
    power = row(done.stdout, "power")
    assert power[1] == State.MISSING
    assert "there is no terminal" in power[2]


def test_a_rig_file_that_is_wrong_is_a_message(tmp_path: Path) -> None:
    rig = tmp_path / "rig.yaml"
    rig.write_text("rig: [\n", encoding="utf-8")
    done = doctor(str(rig))
    assert done.returncode == EXIT_USAGE
    assert f"{rig}:" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_bench_says_of_each_of_its_links_how_it_stands(tmp_path: Path, line: Path) -> None:
    path = tmp_path / "desk.yaml"
    device = ROOT / "rigs/devices/infusion-pump.yaml"
    path.write_text(BENCH.format(device=os.path.relpath(device, tmp_path), port=line), encoding="utf-8")
    found = {finding.what: finding for finding in examine(load_rig(path))}
    assert found["link console"].state is State.GOOD
    assert str(line) in found["link console"].seen
    assert found["way to 127.0.0.1"].state is State.GOOD
    assert found["SocketCAN"].state is State.UNNEEDED
    assert found["rig in use"].state is State.GOOD
    lock = lock_rig(load_rig(path))
    assert lock is not None
    with lock, serial.Serial(str(line), exclusive=True):
        taken = {finding.what: finding for finding in examine(load_rig(path))}
    assert taken["link console"].state is State.MISSING
    assert taken["rig in use"].state is State.MISSING
    for what in ("link console", "rig in use"):
        assert f"process {os.getpid()}" in taken[what].seen


# What is shown


def test_nothing_is_called_good_with_nothing_seen() -> None:
    with pytest.raises(ValueError, match="nothing seen"):
        Finding("clock", State.GOOD, "")


def test_what_a_hostile_adapter_says_of_itself_cannot_act() -> None:
    hostile = "FT232\x1b[2J\x9b31m\u202e[/red][link=http://x]\udcff" + "A" * 5000
    screen = io.StringIO()
    table = table_of([Finding(f"serial {hostile}", State.DOUBTFUL, hostile, hostile)], title="host")
    Console(file=screen, force_terminal=True, color_system=None, width=200).print(table)
    shown = screen.getvalue()
    assert "\\x1b[2J" in shown
    assert "[/red]" in shown
    assert not {"\x1b", "\x9b", "\u202e", "\udcff"} & set(shown)
    assert shown.count("A") < 2000


# Serial adapters


def test_an_adapter_that_nobody_has_is_good(line: Path) -> None:
    found = adapters.adapter("console", line)
    assert found.state is State.GOOD
    assert "nobody has it" in found.seen


def test_an_adapter_that_is_not_there_is_missing() -> None:
    found = adapters.adapter("console", Path("/dev/serial/by-id/usb-none"))
    assert (found.state, "is not there" in found.seen) == (State.MISSING, True)


def test_a_file_is_no_adapter(tmp_path: Path) -> None:
    (tmp_path / "tty").touch()
    assert adapters.adapter("console", tmp_path / "tty").state is State.MISSING


def test_an_adapter_open_without_a_lock_is_doubtful(line: Path) -> None:
    with line.open("rb+", buffering=0) as theirs:
        other = subprocess.Popen(["sleep", "60"], stdin=theirs)
    try:
        found = adapters.adapter("console", line)
    finally:
        other.kill()
        other.wait()
    assert found.state is State.DOUBTFUL
    assert f"process {other.pid} (sleep)" in found.seen
    assert adapters.adapter("console", line).state is State.GOOD


def test_who_may_not_open_an_adapter_is_told_how(line: Path) -> None:
    line.chmod(0)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)  # nobody, for whom alone the mode counts
    try:
        found = adapters.adapter("console", line)
    finally:
        if root:
            os.seteuid(0)
    assert found.state is State.MISSING
    assert "may not be opened by" in found.seen
    assert "60-proofrig.rules" in found.remedy


def test_the_group_of_an_adapter_is_the_way_in(line: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may give a device to another group")
    os.chown(line, 0, 20)  # dialout, on Debian
    line.chmod(stat.S_IRUSR | stat.S_IWUSR | stat.S_IRGRP | stat.S_IWGRP)
    assert adapters._way_in(line, line.stat()).startswith("sudo usermod -aG dialout ")


# CAN


def test_an_interface_of_another_kind_is_no_can_interface() -> None:
    found = can_interfaces.can_interface("link can", "lo")
    assert (found.state, found.seen) == (State.MISSING, "lo is no CAN interface")
    assert can_interfaces.can_interface("link can", "can77").state is State.MISSING


def test_socketcan_is_as_the_kernel_has_it() -> None:
    try:
        socket.socket(socket.AF_CAN, socket.SOCK_RAW, socket.CAN_RAW).close()
        wanted = State.GOOD
    except OSError:
        wanted = State.MISSING
    assert can_interfaces.socketcan().state is wanted


# Emulation


def test_the_emulator_carries_out_the_trial() -> None:
    found = emulation.emulator()
    assert found.state is State.GOOD, found
    assert "a trial program ran" in found.seen


def test_a_name_in_path_is_no_emulator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (emulation.QEMU, "qemu-img"):
        (tmp_path / name).write_text(
            f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n[ "$1" != --version ] || echo QEMU 9\n'
        )
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    found = emulation.emulator()
    assert found.state is State.MISSING
    assert "did not say what it must" in found.seen
    asked = (tmp_path / "asked").read_text(encoding="utf-8")
    assert "-accel tcg" in asked
    assert "kvm" not in asked


def test_an_emulator_that_fails_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / emulation.QEMU).write_text("#!/bin/sh\necho libpixman-1.so.0: cannot open >&2\nexit 127\n")
    (tmp_path / emulation.QEMU).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    found = next(finding for finding in examine(None) if finding.what == "QEMU")
    assert found.state is State.MISSING
    assert "ended with 127, and said: libpixman-1.so.0: cannot open" in found.seen


def test_an_image_that_is_not_built_is_missing(tmp_path: Path) -> None:
    found = emulation.firmware_image(tmp_path / "device.json")
    assert (found.state, found.remedy) == (State.MISSING, "build the firmware fixture first: make firmware")
    (tmp_path / "device.json").write_text('{"schema": 2}', encoding="utf-8")
    assert emulation.firmware_image(tmp_path / "device.json").state is State.MISSING


def test_a_private_network_is_made() -> None:
    assert emulation.private_network(tap=False).state is State.GOOD


# Software


def test_packages_of_another_version_are_doubtful(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "constraints.txt").write_text("rich==0.0.1\n", encoding="utf-8")
    monkeypatch.setattr(software, "ROOT", tmp_path)
    (found,) = software.python_packages()
    assert found.state is State.DOUBTFUL
    assert re.search(r"rich \S+ instead of 0\.0\.1", found.seen)


def test_a_debian_package_that_is_not_installed_is_missing() -> None:
    found = software.debian_packages(["make", "no-such-package"])
    assert found.state in (State.MISSING, State.DOUBTFUL)  # the latter where there is no dpkg
    assert "no-such-package" in found.remedy


def takes(asked: str, version: tuple[int, ...]) -> bool:
    """Say whether an npm range of versions, `18 || ^20.1 || >=22`, takes a version."""
    for part in asked.split("||"):
        sign, digits = re.fullmatch(r"\s*(\^|>=)?\s*([\d.]+)(?:\.x)?(?: .*)?\s*", part).groups()  # type: ignore[union-attr]
        oldest = tuple(int(each) for each in digits.split("."))
        if version >= oldest and (sign == ">=" or version[0] == oldest[0]):
            return True
    return False


def test_node_is_as_new_as_the_pinned_packages_ask() -> None:
    lock = json.loads((ROOT / "harness/report/node/package-lock.json").read_text(encoding="utf-8"))
    asked = [each["engines"]["node"] for each in lock["packages"].values() if "node" in each.get("engines", {})]
    assert all(takes(each, (*software.NODE, 0)) for each in asked)
    older = (software.NODE[0], software.NODE[1] - 1, 99)
    assert not all(takes(each, older) for each in asked)


# The host


def test_room_is_compared_with_what_a_run_needs(tmp_path: Path) -> None:
    place = tmp_path / "reports" / "not there yet"
    assert host.room("disk", place, wanted=SPARE).state is State.GOOD
    assert host.room("disk", place, wanted=2**60).state is State.DOUBTFUL


def test_the_clock_is_good_only_if_the_kernel_says_so() -> None:
    kernel, drift = host.clock(host.ClockStart())
    assert kernel.state in (State.GOOD, State.DOUBTFUL)
    assert ("synchronised, to" in kernel.seen) == (kernel.state is State.GOOD)
    assert drift.state is State.GOOD


def test_a_step_of_the_clock_is_seen() -> None:
    start = host.ClockStart()
    start.utc -= 3
    _, drift = host.clock(start)
    assert drift.state is State.DOUBTFUL
    assert "+3000" in drift.seen


def test_an_address_of_somebody_else_is_no_bench_address() -> None:
    assert host.bench_address("127.0.0.1").state is State.GOOD
    assert host.bench_address("198.51.100.77").state is State.MISSING
