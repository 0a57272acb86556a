"""The pump with its CAN messages and signals by name: the same device, under the same testcase."""

from __future__ import annotations

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from harness.journal import read_journal
from harness.qualify.trial import run_trial
from harness.rig.claims import EssentialPerformanceClaim
from harness.rig.loading import load_device
from harness.verdict import Verdict

ROOT = Path(__file__).parents[2]
DEVICE = ROOT / "rigs/devices/infusion-pump.yaml"
SHAM = ROOT / "tests/sham/rig.yaml"
MESSAGES = {
    0x100: "THERAPY", 0x101: "VOLUME", 0x102: "SESSION", 0x200: "COMMAND", 0x201: "ANSWER",
    0x7E0: "UDS_REQUEST", 0x7E8: "UDS_RESPONSE",
}  # fmt: skip


@pytest.fixture
def device(tmp_path: Path) -> Path:
    """The pump's device file without a CAN identifier in it."""
    yaml = YAML()
    file = yaml.load(DEVICE.read_text())
    file["dbc"] = [str(ROOT / "tests/rig/pump.dbc")]
    uds, commands, claim = file["surfaces"]["uds"], file["surfaces"]["can-commands"], file["claims"]["EP-RATE"]
    for part in (uds, commands, claim):
        for key in ("request_id", "response_id", "command_id", "answer_id", "session_id", "heartbeat"):
            if key in part:
                part[key] = MESSAGES[part[key]]
    for key in ("known_ids", "listens"):
        commands[key] = [MESSAGES[number] for number in commands[key]]
    names = {"state": "State", "alarm": "Alarm", "set_rate": "SetRate", "flow": "Flow"}
    claim["fields"] = {field: {"signal": f"THERAPY.{name}"} for field, name in names.items()}
    yaml.dump(file, tmp_path / "device.yaml")
    return tmp_path / "device.yaml"


def test_names_mean_the_same(device: Path) -> None:
    by_name, by_number = load_device(device)[0], load_device(DEVICE)[0]
    assert by_name.surfaces == by_number.surfaces
    named, numbered = by_name.claims["EP-RATE"], by_number.claims["EP-RATE"]
    assert isinstance(named, EssentialPerformanceClaim)
    assert isinstance(numbered, EssentialPerformanceClaim)
    frame = bytes([1, 0, 0x02, 0x58, 0x02, 0x57, 9, 0])
    for name, field in numbered.fields.items():
        assert named.fields[name].decode(frame) == pytest.approx(field.decode(frame))


def test_a_testcase_passes_with_names(device: Path, tmp_path: Path) -> None:
    yaml = YAML()
    rig = yaml.load(SHAM.read_text())
    rig["device"] = device.name
    rig["bundles"] = str(SHAM.parent / "bundles")
    rig["links"]["ssh"]["key_file"] = str(SHAM.parent / "keys/client_ed25519")
    rig["control"]["command"] = [word.replace("{rig_dir}", str(SHAM.parent)) for word in rig["control"]["command"]]
    yaml.dump(rig, tmp_path / "rig.yaml")
    seen = run_trial(
        tmp_path / "rig.yaml", testcases=ROOT / "testcases/can/test_command_authentication.py", run_dir=tmp_path / "run"
    )
    assert seen.of(Verdict.PASS) == ["CAN-AUTHENTICATOR[can-commands]"], seen.output
    watched = [e.data for e in read_journal(tmp_path / "run/journal.jsonl").entries if e.kind == "watch"]
    (held,) = [each for each in watched if each["claim"] == "EP-RATE"]
    assert held["state"] == "held"
    assert held["samples"] > 0
