"""The sham's rig with short waits: a liar's silence is as long as one likes."""

from __future__ import annotations

import shutil
from pathlib import Path

from ruamel.yaml import YAML

SHAM = Path(__file__).parent / "rig.yaml"

SHORT = {
    "AVAILABILITY": {"recovery": 0.5},
    "UPDATE": {
        "within": {"receiving": 3, "verifying": 3, "writing": 3, "restart": 4, "trying": 4, "rollback": 6},
        "stall": 1,
    },
    "RESTORE": {"within": 4},
    "END-OF-LIFE": {"within": 4},
}
"""Claim → what is shortened, in seconds."""


def impatient_rig(folder: Path, *, lie_file: bool = False) -> Path:
    """Write the rig into a folder; with `lie_file` the sham takes its lie from the run folder when one is there."""
    yaml = YAML()
    rig = yaml.load(SHAM.read_text())
    device = yaml.load((SHAM.parent / rig["device"]).read_text())
    for claim, shorter in SHORT.items():
        device["claims"][claim].update(shorter)
    device["starts_within"] = 5
    for action in device["surfaces"]["api"]["actions"].values():
        if "within" in action:
            action["within"] = 3
    yaml.dump(device, folder / "device.yaml")
    words = [word.replace("{rig_dir}", str(SHAM.parent)) for word in rig["control"]["command"]]
    at, file = words.index("--lie"), ["--lie-file", "{run_dir}/../lie"] if lie_file else []
    rig["control"]["command"] = [*words[:at], *file, *words[at:]]
    rig.update(device="device.yaml", bundles=str(SHAM.parent / "bundles"), answer_within=0.3)
    yaml.dump(rig, folder / "rig.yaml")
    shutil.copytree(SHAM.parent / "keys", folder / "keys")
    return folder / "rig.yaml"
