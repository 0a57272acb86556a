"""The tests of CAN links once more, on the SocketCAN of a real kernel: its virtual interface, in a guest."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from pathlib import Path

from guest import Guest

TESTS = (
    "tests/links/test_can.py",
    "tests/links/test_isotp.py",
    "tests/links/test_socketcan.py",
    "tests/links/test_socketcan_rig.py",
)
WITHIN = 400.0
"""Seconds for boot and tests; emulated processors are some twenty times slower."""


def test_the_tests_of_can_links_pass_on_socketcan(guest: Guest, tmp_path: Path) -> None:
    # All but one, which needs no bus and takes long here.
    options = [
        "-q",
        "-k",
        "not only_an_answer",
        "-p",
        "no:cacheprovider",
        "--junitxml",
        "/mnt/results.xml",
        "--can",
        "socketcan:vcan0",
    ]
    done = guest.run(sys.executable, "-m", "pytest", *TESTS, *options, work=tmp_path, timeout=WITHIN)
    assert done.code == 0, f"{done.console[-2000:]}\n{done.output[-20000:]}"
    (suite,) = ET.parse(tmp_path / "results.xml").getroot()
    assert suite.get("skipped") == suite.get("failures") == suite.get("errors") == "0"
    ran = {case.get("name") for case in suite.iter("testcase")}
    assert {"test_a_full_bus_is_taken_in_without_loss", "test_iso_tp_with_the_kernels_own"} <= ran


def test_a_command_that_fails_in_the_guest_fails_here_too(guest: Guest, tmp_path: Path) -> None:
    done = guest.run("sh", "-c", "cat /sys/class/net/vcan0/mtu; exit 3", work=tmp_path, timeout=120)
    assert (done.code, done.output.strip()) == (3, "72"), done.console[-2000:]
