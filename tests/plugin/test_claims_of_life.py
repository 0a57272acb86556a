"""What a claim about updates or backups names and nothing can look for is undecided, and said by name."""

from __future__ import annotations

from pathlib import Path

from impatient import impatient_rig
from ruamel.yaml import YAML
from runs import run

BODY = """
from harness.procedures.kept import Kept
from harness.procedures.restoring import Restoring
EFFECTS = [Effect.ACCOUNTS, Effect.CONFIGURATION, Effect.DATA]
@case_of("T-1", effects=EFFECTS)
def test_kept(case):
    good(case)
    kept = Kept(case, "api", case.bench.rig.device.claims["UPDATE"].keeps)
    kept.change()
    kept.expect("at once", before=kept.read(), records=kept.records(), claim="UPDATE")
@case_of("T-2", effects=EFFECTS)
def test_held(case):
    good(case)
    with Restoring(case, "RESTORE") as restoring:
        restoring.expect_state("at once", restoring.state())
@case_of("T-3", effects=EFFECTS)
def test_refused(case):
    good(case)
    with Restoring(case, "RESTORE") as restoring:
        restoring.expect_refused("none", restoring.restore(b"none"), before=restoring.state(), why=("family",))
"""


def outcome_with(folder: Path, *, keeps: list[str], holds: list[str]) -> tuple[dict[str, str], str]:
    """Run the testcases with such claims, and no reasons of refusals declared; return verdicts and output."""
    rig, yaml = impatient_rig(folder), YAML()
    device = yaml.load((folder / "device.yaml").read_text())
    device["claims"]["UPDATE"]["keeps"], device["claims"]["BACKUP"]["holds"] = keeps, holds
    device["claims"]["RESTORE"]["refusals"] = {}
    yaml.dump(device, folder / "device.yaml")
    outcome = run(folder, BODY, rig=rig)
    return outcome.verdicts, outcome.output


def test_what_can_be_looked_for_is_decided(tmp_path: Path) -> None:
    everything = ["configuration", "users", "patients", "audit"]
    verdicts, output = outcome_with(tmp_path, keeps=everything, holds=[*everything, "therapy"])
    assert verdicts == {"test_kept": "PASS", "test_held": "PASS", "test_refused": "PASS"}, output


def test_what_cannot_be_looked_for_is_undecided(tmp_path: Path) -> None:
    verdicts, output = outcome_with(tmp_path, keeps=["users", "therapy"], holds=["audit"])
    assert verdicts == {"test_kept": "INCONCLUSIVE", "test_held": "INCONCLUSIVE", "test_refused": "PASS"}, output
    assert "therapy can be changed and looked for" in output
    assert "what a backup holds can be read back: audit" in output
