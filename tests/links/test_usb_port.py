"""Serial adapters by USB identity: one, none, two, two of a kind, and one that may not be used."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.links.usb_port import locate

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a computer of its own needs root")
A, B, NAMELESS = "0403:6001:A10K3XYZ", "0403:6001:B7", "1a86:7523:"


def computer(folder: Path, *ports: str, adapters: list[str], user: int = 0) -> list[list[str]]:
    """What locating and opening each port comes to on a computer with these adapters."""
    script = Path(__file__).parent / "usb_computer.py"
    done = subprocess.run(
        ["unshare", "--mount", sys.executable, str(script), str(folder), " ".join(adapters), str(user), *ports],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_an_adapter_is_found_by_what_it_is(tmp_path: Path) -> None:
    found = computer(tmp_path, "usb:0403:6001:B7", "usb:1A86:7523", f"usb:{A}", adapters=[A, B, NAMELESS])
    assert found == [["/dev/ttyUSB1", "hello"], ["/dev/ttyUSB2", "hello"], ["/dev/ttyUSB0", "hello"]]


def test_none_is_a_fault_of_the_bench_that_names_what_is_there(tmp_path: Path) -> None:
    (some,) = computer(tmp_path, "usb:0403:6001:C", adapters=[A, NAMELESS])
    assert some[0] == "BenchFault"
    assert "console: no adapter usb:0403:6001:C is plugged in" in some[1]
    assert "usb:0403:6001:A10K3XYZ, usb:1a86:7523" in some[1]


def test_two_that_match_are_a_mistake_of_the_rig_file(tmp_path: Path) -> None:
    (told_apart,) = computer(tmp_path, "usb:0403:6001", adapters=[A, B])
    assert told_apart[0] == "UsageError"
    assert "means 2 adapters: usb:0403:6001:A10K3XYZ at /dev/ttyUSB0, usb:0403:6001:B7 at /dev/ttyUSB1" in told_apart[1]
    assert "add the serial number" in told_apart[1]


@pytest.mark.parametrize("twin", [A, NAMELESS])
def test_two_of_a_kind_need_another_name(tmp_path: Path, twin: str) -> None:
    (same,) = computer(tmp_path, f"usb:{twin}".rstrip(":"), adapters=[twin, twin])
    assert same[0] == "UsageError"
    assert "by-path" in same[1]


def test_one_that_may_not_be_used_is_a_mistake_of_the_user(tmp_path: Path) -> None:
    (forbidden,) = computer(tmp_path, "usb:0403:6001", adapters=[A], user=65534)
    assert forbidden[0] == "UsageError"
    assert "/dev/ttyUSB0 may not be read and written by this user" in forbidden[1]
    assert "add the user to group" in forbidden[1]


def test_a_url_stays_as_it_is() -> None:
    for url in ("socket://127.0.0.1:1", "rfc2217://[::1]:2217", "unix:/run/nowhere", "/dev/ttyNOTHERE"):
        assert locate(url, name="console") == url
