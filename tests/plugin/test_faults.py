"""Faults of bench, device and user while a run is on: never a pass, never a traceback, nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from runs import RIG, ROOT, Outcome, command, run

from harness.verdict import EXIT_INCONCLUSIVE

WAITING = """
@case_of("T-1")
def test_1(case): good(case)
@case_of("T-2")
def test_2(case):
    good(case)
    open("waiting", "w").write("now")
    case.bench.wiring.can("can").wait_for(lambda frame: False, timeout=60)
@case_of("T-3")
def test_3(case): good(case)
"""


def sham_processes(folder: Path) -> list[int]:
    """Processes that a run started in `folder` left: found by the variable put into their environment."""
    mark = f"PROOFRIG_TEST_MARK={folder}".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (process / "environ").read_bytes().split(b"\0"):
                found.append(int(process.name))
        except OSError:
            continue
    return found


def start_waiting(folder: Path) -> subprocess.Popen[bytes]:
    """Start a run and return when its second testcase is in its body."""
    process = subprocess.Popen(
        command(folder, WAITING),
        cwd=folder,
        env={**os.environ, "PROOFRIG_TEST_MARK": str(folder)},
        stdout=(folder / "output").open("wb"),
        stderr=subprocess.STDOUT,
    )
    _until(lambda: (folder / "waiting").exists() or process.poll() is not None, 60)
    assert process.poll() is None, (folder / "output").read_text()
    return process


def _until(condition: object, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    pause = __import__("threading").Event()
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "not in time"
        pause.wait(0.05)


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupt_at_any_instant_loses_nothing(tmp_path: Path, sign: signal.Signals) -> None:
    process = start_waiting(tmp_path)
    process.send_signal(sign)
    process.wait(30)
    _until(lambda: not sham_processes(tmp_path), 10)
    outcome = Outcome(process.returncode, (tmp_path / "output").read_text(), tmp_path / "run")
    assert outcome.journal.broken_at is None
    told = subprocess.run(
        [str(ROOT / ".venv/bin/proofrig") if (ROOT / ".venv").exists() else "proofrig", "report", "run", "--no-html"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "Traceback" not in told.stdout + told.stderr + outcome.output
    assert "1 PASS" in told.stdout, told.stdout
    assert "2 NOT RUN" in told.stdout, told.stdout


def test_a_link_lost_in_mid_test_is_inconclusive(tmp_path: Path) -> None:
    body = """
@case_of("T-1")
def test_1(case):
    good(case)
    case.bench.control.cut()
    case.bench.wiring.can("can").wait_for(lambda frame: False, timeout=5)
@case_of("T-2")
def test_2(case): good(case)
"""
    outcome = run(tmp_path, body)
    assert outcome.verdicts["test_1"] == "INCONCLUSIVE", outcome.output
    assert outcome.verdicts["test_2"] == "PASS", "the next testcase starts clean"


def test_frames_that_the_bench_lost_leave_a_testcase_undecided(tmp_path: Path) -> None:
    """The link's own count is set; that SocketCAN counts rightly is tested where there is SocketCAN."""
    body = """
@case_of("T-1")
def test_1(case):
    good(case)
    case.bench.wiring.can("can")._transport.dropped = 3
@case_of("T-2")
def test_2(case): good(case)
"""
    outcome = run(tmp_path, body)
    assert outcome.verdicts == {"test_1": "INCONCLUSIVE", "test_2": "PASS"}, outcome.output
    assert "the bench lost frames: 3 on can" in outcome.reason("test_1")


def test_a_device_that_reboots_in_mid_test_fails(tmp_path: Path) -> None:
    body = """
@case_of("T-1")
def test_1(case):
    case.attack("uds", "a long request")
    case.check("the version", held=True, expected="1", observed="1", claim="VERSION")
    case.bench.uds("uds").request(bytes([0x22]) + bytes(60))
"""
    outcome = run(tmp_path, body, "--weakness", "uds-memory-bug")
    assert outcome.verdicts == {"test_1": "FAIL"}, outcome.output


@pytest.mark.parametrize("lie", ["dead", "mute", "refuse", "babble"])
def test_no_baseline_makes_everything_inconclusive_by_name(tmp_path: Path, lie: str) -> None:
    body = WAITING.replace("timeout=60", "timeout=0.1")
    outcome = run(tmp_path, body, environment={"SHAM_LIE": lie})
    assert set(outcome.verdicts.values()) == {"INCONCLUSIVE"}, outcome.output
    assert "baseline" in outcome.reason("test_3")
    assert outcome.code == EXIT_INCONCLUSIVE


def test_the_wrong_device_stops_the_run(tmp_path: Path) -> None:
    outcome = run(tmp_path, WAITING, environment={"SHAM_LIE": "wrong-device"})
    assert outcome.verdicts == {"test_1": "INCONCLUSIVE", "test_2": "NOT RUN", "test_3": "NOT RUN"}, outcome.output
    assert "another device answers" in outcome.reason("test_1")


def test_what_is_absent_is_named_before_power(tmp_path: Path) -> None:
    rig = (ROOT / "rigs/pump-qemu.yaml").read_text()
    text = rig.replace("../.build/infusion-pump/device.json", "none.json").replace("devices/", f"{ROOT}/rigs/devices/")
    (tmp_path / "rig.yaml").write_text(text)
    outcome = run(tmp_path, WAITING, rig=tmp_path / "rig.yaml")
    assert set(outcome.verdicts.values()) == {"INCONCLUSIVE"}
    assert "is not built" in outcome.reason("test_1")
    assert "make firmware" in outcome.reason("test_1")
    assert "Traceback" not in outcome.output


def test_an_emulator_that_is_not_installed_is_named(tmp_path: Path) -> None:
    built = (ROOT / ".build/infusion-pump/device.json").read_text()
    (tmp_path / "device.json").write_text(built.replace("qemu-system-aarch64", "qemu-system-not-there"))
    rig = (ROOT / "rigs/pump-qemu.yaml").read_text()
    text = rig.replace("../.build/infusion-pump/", "").replace("devices/", f"{ROOT}/rigs/devices/")
    (tmp_path / "rig.yaml").write_text(text)
    outcome = run(tmp_path, WAITING, rig=tmp_path / "rig.yaml")
    assert set(outcome.verdicts.values()) == {"INCONCLUSIVE"}
    assert "qemu-system-not-there is not installed" in outcome.reason("test_1")
    assert "apt-get install" in outcome.reason("test_1")


def test_an_absent_adapter_is_named(tmp_path: Path) -> None:
    rig = RIG.read_text().replace("port: 'control:console'", "port: /dev/serial/by-id/not-plugged-in")
    rig = rig.replace("../../rigs", f"{ROOT}/rigs").replace("{rig_dir}", str(RIG.parent))
    (tmp_path / "rig.yaml").write_text(rig.replace("keys/", f"{RIG.parent}/keys/"))
    outcome = run(tmp_path, WAITING, rig=tmp_path / "rig.yaml")
    assert set(outcome.verdicts.values()) == {"INCONCLUSIVE"}
    assert "not-plugged-in" in outcome.reason("test_1")
    assert "Traceback" not in outcome.output


def test_a_rig_in_use_says_by_whom(tmp_path: Path) -> None:
    rig = RIG.read_text().replace("../../rigs", f"{ROOT}/rigs")
    rig = rig[: rig.index("control:")] + "links:\n  modbus-tcp: {type: modbus-tcp, host: 192.0.2.10}\n"
    (tmp_path / "rig.yaml").write_text(rig)
    import fcntl

    with (tmp_path / "rig.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write("process 4711 (Li Na)")
        lock.flush()
        outcome = run(tmp_path, WAITING, rig=tmp_path / "rig.yaml")
    assert "in use by process 4711 (Li Na)" in outcome.reason("test_1")


def test_a_rig_that_cannot_be_locked_says_where(tmp_path: Path) -> None:
    rig = RIG.read_text().replace("../../rigs", f"{ROOT}/rigs")
    rig = rig[: rig.index("control:")] + "links:\n  modbus-tcp: {type: modbus-tcp, host: 192.0.2.10}\n"
    (tmp_path / "rig.yaml").write_text(rig)
    (tmp_path / "rig.lock").mkdir()
    outcome = run(tmp_path, WAITING, rig=tmp_path / "rig.yaml")
    assert f"{tmp_path}/rig.lock" in outcome.reason("test_1")
    assert "put the rig file into a folder you may write to" in outcome.reason("test_1")
    assert "Traceback" not in outcome.output


def test_one_device_is_not_shared_between_workers(tmp_path: Path) -> None:
    rig = RIG.read_text().replace("../../rigs", f"{ROOT}/rigs")
    rig = rig[: rig.index("control:")] + "links:\n  modbus-tcp: {type: modbus-tcp, host: 192.0.2.10}\n"
    (tmp_path / "rig.yaml").write_text(rig)
    outcome = run(tmp_path, WAITING, "-n", "2", rig=tmp_path / "rig.yaml")
    assert "-n cannot be used" in outcome.output


def test_a_full_disk_stops_the_run_and_names_what_was_not_run(tmp_path: Path) -> None:
    body = """
@case_of("T-1")
def test_1(case): good(case)
@case_of("T-2")
def test_2(case):
    good(case)
    with (case.bench.run_dir / "big").open("wb", buffering=0) as big:
        while big.write(bytes(1 << 16)) == 1 << 16: pass
@case_of("T-3")
def test_3(case): good(case)
"""
    on_a_small_disk = (
        'mkdir run; mount -t tmpfs -o size=80m none run; "$@"; code=$?; rm run/big; cp -r run kept; exit $code'
    )
    own_mounts = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    done = subprocess.run(
        [*own_mounts, "sh", "-c", on_a_small_disk, "sh", *command(tmp_path, body)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    outcome = Outcome(done.returncode, done.stdout + done.stderr, tmp_path / "kept")
    assert outcome.verdicts == {"test_1": "PASS", "test_2": "INCONCLUSIVE", "test_3": "NOT RUN"}, outcome.output
    assert "the disk is full" in outcome.reason("test_2")
    assert outcome.journal.broken_at is None
    assert not outcome.journal.torn
    assert "Traceback" not in outcome.output
