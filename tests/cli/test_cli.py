"""The command, as a user types it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from harness.fuzz.cases import FuzzCase
from harness.fuzz.findings import Finding, write_finding
from harness.verdict import EXIT_FAIL, EXIT_INCONCLUSIVE, EXIT_USAGE

ROOT = Path(__file__).parents[2]
SHAM = str(ROOT / "tests/sham/rig.yaml")


def proofrig(*arguments: str, cwd: Path = ROOT, typed: str = "") -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "harness.cli", *arguments],
        cwd=cwd,
        input=typed,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
        start_new_session=True,  # without a terminal, wherever the tests run
    )


def test_rig_check_shows_every_link_and_how_it_was_seen() -> None:
    done = proofrig("rig", "check", SHAM)
    assert done.returncode == 0, done.stdout + done.stderr
    for link in ("console", "ssh", "can", "modbus-tcp", "modbus-rtu", "network"):
        assert f"│ {link} " in done.stdout
    assert "VP-1 VP1-000417 1.0.0, as the rig file says" in done.stdout


def bench(folder: Path, control: str) -> str:
    """A rig file for a bench of which nothing is there."""
    path = folder / "rig.yaml"
    path.write_text(
        f"rig: bench\ndevice: {ROOT}/rigs/devices/infusion-pump.yaml\nitem: {{serial: S1, grade: engineering}}\n"
        f"control: {{{control}}}\ntargets: [127.0.0.1]\nlinks:\n"
        "  modbus-tcp: {type: modbus-tcp, host: 127.0.0.1, port: 1}\n"
        "  console: {type: serial, port: 'usb:0403:6001:X'}\n"
        "equipment: [{name: supply, calibration_due: 2020-01-31}]\n"
    )
    return str(path)


def test_rig_check_of_a_bench_that_is_not_here_fails_politely(tmp_path: Path) -> None:
    done = proofrig("rig", "check", bench(tmp_path, "type: command, power_on: [bench-power], power_off: [bench-power]"))
    assert done.returncode == EXIT_USAGE
    assert "bench-power" in done.stderr
    assert "→" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_rig_check_names_each_part_that_is_missing(tmp_path: Path) -> None:
    supply = "type: scpi, resource: 'TCPIP::127.0.0.1::1::SOCKET', identity: x, on_volts: {least: 1, most: 2}"
    done = proofrig("rig", "check", bench(tmp_path, supply))
    assert done.returncode == EXIT_INCONCLUSIVE, done.stdout + done.stderr
    said = " ".join(done.stdout.replace("│", " ").split())
    assert "no adapter usb:0403:6001:X is plugged in" in said
    assert "(power)" in said
    assert "Connection refused" in said
    assert "equipment: supply: CALIBRATION OVERDUE since 2020-01-31" in said
    assert "Traceback" not in done.stdout + done.stderr


def test_rig_check_asks_nobody_who_is_not_there(tmp_path: Path) -> None:
    done = proofrig("rig", "check", bench(tmp_path, "type: operator"))
    assert done.returncode == EXIT_USAGE
    assert "there is no terminal" in done.stderr


def test_schemas_are_printed_as_json() -> None:
    both = json.loads(proofrig("rig", "schema").stdout)
    assert both.keys() == {"rig", "device"}
    assert json.loads(proofrig("rig", "schema", "device").stdout) == both["device"]


def test_the_console_is_shown_and_recorded(tmp_path: Path) -> None:
    done = proofrig("console", SHAM, cwd=tmp_path, typed="operator\rDrip-7-Harbour\rversion\r")
    assert done.returncode == 0, done.stderr
    assert "serial: VP1-000417" in done.stdout
    captures = list(tmp_path.glob("reports/*/captures/console-console.cap"))
    assert len(captures) == 1
    assert b"version" in captures[0].read_bytes()


def test_a_finding_is_still_failing_or_fixed(tmp_path: Path) -> None:
    finding = Finding(
        device="infusion-pump",
        surface="uds",
        claim="AVAILABILITY",
        model="by hand",
        seed=1,
        harm="restart",
        observed="uptime went back",
        cases=(FuzzCase("by hand", bytes([0x22]) + bytes(60)),),
        confirmed=True,
        trials=1,
    )
    path = write_finding(tmp_path, finding)
    flawed = proofrig("replay", str(path), SHAM, "--weakness", "uds-memory-bug")
    assert (flawed.returncode, flawed.stdout.startswith("STILL FAILING")) == (EXIT_FAIL, True), flawed.stderr
    mended = proofrig("replay", str(path), SHAM)
    assert (mended.returncode, mended.stdout.startswith("FIXED")) == (0, True), mended.stdout + mended.stderr


def test_mistakes_are_messages(tmp_path: Path) -> None:
    for arguments in (["run", "none.yaml"], ["rig", "check", "none.yaml"], ["report", str(tmp_path)]):
        done = proofrig(*arguments)
        assert done.returncode == EXIT_USAGE, arguments
        assert "Traceback" not in done.stdout + done.stderr
        assert "none.yaml" in done.stdout + done.stderr or "no journal" in done.stderr


def test_an_expression_may_be_longer_than_a_path() -> None:
    expression = " or ".join(f"no_such_testcase_{number}" for number in range(30))
    done = proofrig("run", SHAM, "--collect-only", "-q", "-k", expression)
    assert "Traceback" not in done.stdout + done.stderr
    assert "no tests collected" in done.stdout
