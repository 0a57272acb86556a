"""Firmware in QEMU that nobody here knows: from its machine file to a testcase, without the fixtures' bench agent."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.capture import read_capture
from harness.control.machine import load_machine
from harness.errors import ControlFault, UsageError
from harness.journal import read_journal
from harness.rig.loading import load_rig
from harness.rig.machine_file import load_machine_file
from harness.verdict import EXIT_INCONCLUSIVE, EXIT_USAGE

ROOT = Path(__file__).parents[2]
BUILT = ROOT / ".build/bedside-gateway"
WHO = ["--name", "gw", "--manufacturer", "Meridian", "--kind", "gateway"]
UNIT = [*WHO, "--model", "BG-4", "--version", "1.0.0", "--serial", "BG4-2207"]
MACHINE: dict[str, Any] = {
    "schema": 2,
    "device": "gateway",
    "qemu": "qemu-system-x86_64",
    "machine": ["-M", "pc", "-cpu", "max"],
    "memory_mb": 256,
    "files": {"kernel": f"{BUILT}/vmlinuz", "system": f"{BUILT}/system.cpio.gz", "disk": f"{BUILT}/data.qcow2"},
    "arguments": [
        *("-kernel", "{kernel}", "-initrd", "{system}"),
        *("-append", "console=ttyS0 quiet panic=1 random.trust_cpu=on"),
        *("-drive", "if=none,id=d0,format=qcow2,file={disk}", "-device", "virtio-blk-pci,drive=d0,romfile="),
        *("-device", "virtio-net-pci,netdev={netdev},mac=52:54:00:50:04:01,romfile=,guest_announce=off"),
        *("-serial", "chardev:{console_chardev}"),
    ],
    "ready": {"console": "BG-4 up", "within_s": 90},
}
"""What somebody writes who knows docs/emulated-device.md and the gateway's firmware, and no more."""


def proofrig(folder: Path, *words: str, within: float = 240) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "harness.cli", *words],
        cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=within, check=False,
    )  # fmt: skip


def written(folder: Path, **changes: Any) -> Path:
    file = folder / "machine.json"
    file.write_text(json.dumps({name: value for name, value in {**MACHINE, **changes}.items() if value is not None}))
    return file


def init(folder: Path, machine: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return proofrig(folder, "device", "init", "rigs", *UNIT, "--machine", str(machine), *words)


def test_firmware_without_a_bench_agent_is_scanned_and_tested(tmp_path: Path) -> None:
    machine = written(tmp_path)
    scans = ["--address", "192.0.2.10", "--scan", "ports,tls,console", "--ports", "20-450", "--console"]
    done = init(tmp_path, machine, *scans, "control:console", "--baudrates", "9600", "--timeout", "0.5")
    assert done.returncode == 0, done.stderr
    rig = tmp_path / "rigs/gw.yaml"
    loaded = load_rig(rig)
    assert loaded.device.claims["PORTS"].tcp == (22, 443)  # type: ignore[attr-defined]
    assert loaded.file.control.settle == "BG-4 up"  # type: ignore[union-attr]
    assert loaded.file.item.grade == "emulated"
    assert {"https", "console"} == set(loaded.device.surfaces)
    booted = next((tmp_path / "reports").glob("*/boot.cap"))
    assert b"BG-4 up" in b"".join(frame.data for frame in read_capture(booted))

    # The surfaces filled in and the claims stood up for: by the file that knows the gateway.
    shutil.copy(ROOT / "rigs/devices/bedside-gateway.yaml", tmp_path / "rigs/devices/gw.yaml")
    rig.write_text(rig.read_text().replace("permits: []", "permits: [accounts, configuration]"))
    roles = f"{ROOT}/testcases/authorisation/test_roles.py"
    ran = proofrig(tmp_path, "run", str(rig), roles, "-k", "before_log_in and api", "--no-html", "--run-dir", "run")
    assert ran.returncode == 0, ran.stdout
    journal = read_journal(tmp_path / "run/journal.jsonl")
    assert [line.data["verdict"] for line in journal.of("result")] == ["PASS"]
    assert [line.data["route"] for line in journal.of("baseline")] == ["boot"]
    (image,) = journal.of("image")
    made = json.loads((BUILT / "device.json").read_text())["images"]
    assert image.data["image_sha256"]["disk"] == made["data.qcow2"]["sha256"]


def test_a_device_that_does_not_come_up_is_named(tmp_path: Path) -> None:
    machine = written(tmp_path, ready={"console": "never printed", "within_s": 1})
    done = init(tmp_path, machine, "--address", "192.0.2.10", "--scan", "tls")
    assert done.returncode == EXIT_INCONCLUSIVE
    assert "the device is not up 1 s after power-on" in done.stderr
    assert not (tmp_path / "rigs").exists()


@pytest.mark.parametrize(
    ("changes", "words", "told"),
    [
        ({"ready": None}, ["--console", "control:console", "--scan", "console"], "nothing says when the device is up"),
        (
            {"memory_mb": -1},
            ["--console", "control:console", "--scan", "console"],
            "memory_mb: Input should be greater",
        ),
        ({"qemu": None}, ["--console", "control:console", "--scan", "console"], "qemu: Field required"),
    ],
)
def test_a_machine_file_that_does_not_do_is_named(
    changes: dict[str, Any], words: list[str], told: str, tmp_path: Path
) -> None:
    done = init(tmp_path, written(tmp_path, **changes), *words)
    assert (done.returncode, "Traceback" in done.stderr) == (EXIT_USAGE, False)
    assert told in done.stderr
    assert "machine.json" in done.stderr


def test_a_line_of_an_emulator_needs_one(tmp_path: Path) -> None:
    done = proofrig(tmp_path, "device", "init", "rigs", *UNIT, "--console", "control:console")
    assert done.returncode == EXIT_USAGE
    assert "--console control:console is of an emulated device, and there is none" in done.stderr


def test_a_host_without_any_server_is_named(tmp_path: Path) -> None:
    words = ["--address", "127.0.0.1", "--ssh-port", "9", "--tls-ports", "9", "--scan", "tls,ssh"]
    done = proofrig(tmp_path, "device", "init", "rigs", *UNIT, *words)
    assert (done.returncode, "Traceback" in done.stderr) == (EXIT_USAGE, False)
    assert "no server answered on which the device could show model" in done.stderr


def test_a_machine_file_that_is_none(tmp_path: Path) -> None:
    file = tmp_path / "machine.json"
    with pytest.raises(ControlFault, match="is not built"):
        load_machine_file(file)
    for content in ("{", "[]", '{"schema": 1}', json.dumps({**MACHINE, "weaknesses": {"a": {"bit": 64}}})):
        file.write_text(content)
        with pytest.raises(UsageError, match="not a device description"):
            load_machine_file(file)
    file.write_bytes(b"\xff")
    with pytest.raises(UsageError, match="not a device description"):
        load_machine_file(file)
    assert load_machine(written(tmp_path)).agent is None
