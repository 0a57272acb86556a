"""What a scan wrote yields no PASS: neither to a testcase that checks it nor to one that is about it."""

from __future__ import annotations

from pathlib import Path

import pytest
from runs import RIG, ROOT, run

from harness.verdict import EXIT_FAIL, EXIT_INCONCLUSIVE

BODY = """
@case_of("T-CHECKS")
def test_checks(case): good(case)

@case_of("T-ABOUT")
@each("claim_id", lambda device: [Instance("version", ("VERSION",))])
def test_about(case, claim_id):
    case.attack("modbus-tcp", "a read")
    case.check("denied", held=True, expected="1", observed="1", claim="BASE-DENY")

@case_of("T-OTHER")
def test_other(case):
    case.attack("modbus-tcp", "a read")
    case.check("denied", held=True, expected="1", observed="1", claim="BASE-DENY")
"""
BROKEN = """
@case_of("T-BROKEN")
def test_broken(case):
    case.check("the version", held=False, expected="1", observed="2", claim="VERSION")
"""


@pytest.fixture
def rig(tmp_path: Path) -> Path:
    """The sham's rig, with a variant of the pump in which a scan wrote VERSION."""
    text = RIG.read_text().replace("../../rigs/devices/infusion-pump.yaml", "variant.yaml")
    text = text.replace("{rig_dir}", str(RIG.parent)).replace("keys/client", f"{RIG.parent}/keys/client")
    (tmp_path / "rig.yaml").write_text(text.replace("bundles: bundles", f"bundles: {RIG.parent}/bundles"))
    (tmp_path / "variant.yaml").write_text(
        f"base: {ROOT}/rigs/devices/infusion-pump.yaml\nclaims:\n  VERSION: {{status: observed}}\n"
    )
    return tmp_path / "rig.yaml"


def test_nothing_passes_on_an_observed_claim(rig: Path, tmp_path: Path) -> None:
    outcome = run(tmp_path, BODY, rig=rig)
    assert outcome.verdicts == {
        "test_checks": "INCONCLUSIVE",
        "test_about[version]": "INCONCLUSIVE",
        "test_other": "PASS",
    }, outcome.output
    assert outcome.code == EXIT_INCONCLUSIVE
    assert "proofrig device approve variant.yaml VERSION" in outcome.reason("test_about[version]")
    (about,) = outcome.journal.of("rig")
    assert [each["file"] for each in about.data["device_files"]] == ["variant.yaml", "infusion-pump.yaml"]
    assert len(about.data["device_merged_sha256"]) == 64


def test_a_broken_claim_is_a_fail_whoever_wrote_it(rig: Path, tmp_path: Path) -> None:
    outcome = run(tmp_path, BROKEN, rig=rig)
    assert (outcome.verdicts, outcome.code) == ({"test_broken": "FAIL"}, EXIT_FAIL), outcome.output
