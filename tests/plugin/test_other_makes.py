"""Devices of another make, which do a right thing otherwise than the fixtures: no testcase may FAIL them for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from runs import RIG, ROOT

from harness.qualify.trial import Trial, run_trial
from harness.verdict import Verdict

Change = Callable[[dict[str, Any]], None]


@pytest.fixture
def tried(tmp_path: Path) -> Callable[[Change, str], Trial]:
    """Runs a file of testcases on the sham pump with a changed device file."""

    def run(change: Change, testcases: str) -> Trial:
        device = YAML(typ="safe").load(ROOT / "rigs/devices/infusion-pump.yaml")
        change(device)
        (tmp_path / "device.yaml").write_text(json.dumps(device))
        text = RIG.read_text().replace("../../rigs/devices/infusion-pump.yaml", "device.yaml")
        text = text.replace("{rig_dir}", str(RIG.parent)).replace("keys/client", f"{RIG.parent}/keys/client")
        (tmp_path / "rig.yaml").write_text(text.replace("bundles: bundles", f"bundles: {RIG.parent}/bundles"))
        return run_trial(
            tmp_path / "rig.yaml", testcases=ROOT / "testcases" / testcases, run_dir=tmp_path / "run", timeout=120
        )  # fmt: skip

    return run


def test_the_first_register_may_be_a_clock(tried: Callable[[Change, str], Trial]) -> None:
    def change(device: dict[str, Any]) -> None:
        for name in ("modbus-tcp", "modbus-rtu"):
            registers = device["surfaces"][name]["registers"]
            for register in registers.values():
                register["access"] = "read"  # else one that is set would be read
            device["surfaces"][name]["registers"] = {"uptime": registers["uptime"], **registers}

        device["not_applicable"]["MODBUS-TCP-HOSTILE"] = "no register of this make can be written"

    seen = tried(change, "modbus/test_framing_tcp.py")
    assert seen.verdicts["MODBUS-TCP-FRAMING[modbus-tcp]"] is Verdict.PASS, seen.reasons


def test_an_answer_that_shows_few_records_of_the_log_hides_none(tried: Callable[[Change, str], Trial]) -> None:
    def change(device: dict[str, Any]) -> None:
        device["surfaces"]["api"]["actions"]["audit"]["args"] = {"last": 20}
        device["claims"]["AUDIT-API"]["shows"] = 20

    seen = tried(change, "audit/test_tampering.py")
    assert seen.of(Verdict.FAIL) == [], seen.reasons
    assert "the numbers go on from the marker" in seen.reasons["AUDIT-FORGED[AUDIT-API]"]
