"""What `ip` says of a CAN interface, in the words of iproute2 6.1 for a controller, and when it says something else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.links.can_interface import bit_rate, set_up_of

CONTROLLER = [
    {
        "ifindex": 4, "ifname": "can0", "flags": ["NOARP", "UP", "LOWER_UP", "ECHO"], "mtu": 16, "operstate": "UP",
        "linkinfo": {
            "info_kind": "can",
            "info_data": {
                "state": "ERROR-ACTIVE",
                "bittiming": {"bitrate": 250000, "sample_point": "0.875", "tq": 250, "prop_seg": 6, "sjw": 1},
                "clock": 8000000,
            },
        },
    }
]  # fmt: skip


@pytest.fixture
def says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the program `ip` prints; the last line is its exit code."""
    program = tmp_path / "bin/ip"
    program.parent.mkdir()
    said = tmp_path / "said"
    program.write_text(f"#!/bin/sh\n/bin/cat {said}\nexit $(/bin/cat {said}.code)\n")
    program.chmod(0o755)
    (tmp_path / "said.code").write_text("0")
    monkeypatch.setenv("PATH", str(program.parent))
    return said


def test_a_controller_has_a_state_and_a_bit_rate(says: Path) -> None:
    says.write_text(json.dumps(CONTROLLER))
    set_up = set_up_of("can0")
    assert (set_up["state"], bit_rate(set_up)) == ("ERROR-ACTIVE", 250000)


@pytest.mark.parametrize("text", ["", "[]", "not JSON", '[{"ifname": "vcan0", "linkinfo": {"info_kind": "vcan"}}]'])
def test_what_has_no_controller_has_no_rate(says: Path, text: str) -> None:
    says.write_text(text)
    assert set_up_of("vcan0") == {}
    assert bit_rate(set_up_of("vcan0")) is None


def test_an_ip_that_fails_or_is_not_there_says_nothing(says: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    says.write_text(json.dumps(CONTROLLER))
    says.with_suffix(".code").write_text("1")
    assert set_up_of("can0") == {}
    monkeypatch.setenv("PATH", str(says.parent))
    assert set_up_of("can0") == {}
