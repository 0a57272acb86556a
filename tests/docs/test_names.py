"""Testcases and harness know no device: no model, maker, serial number or name of a device file stands in them."""

from __future__ import annotations

import re
from pathlib import Path

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
DEVICES = sorted((ROOT / "rigs/devices").glob("*.yaml"))


def test_no_code_names_a_device() -> None:
    names: set[str] = set()
    for path in DEVICES:
        device = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
        names |= {
            device["model"],
            device["manufacturer"].split()[0],
            device["device"],
            device["device"].replace("-", "_"),
        }
        names |= {claim["source"]["document"] for claim in device["claims"].values()}
        names |= {account["password"] for account in device["accounts"].values()}
    assert {"VP-1", "SD-200", "BG-4", "Meridian", "infusion-pump", "syringe-driver", "VP1-ICD", "SD200-ICD"} <= names
    named = re.compile(r"(?i)(?<![\w-])(" + "|".join(map(re.escape, sorted(names))) + r")(?![\w-])")
    assert named.search("the SD-200, by Meridian")
    files = [file for folder in ("harness", "testcases") for file in (ROOT / folder).rglob("*.py")]
    assert len(files) > 100
    found = [
        f"{file.relative_to(ROOT)}: {hit[0]}"
        for file in files
        if (hit := named.search(file.read_text(encoding="utf-8")))
    ]
    assert found == []


def test_a_gateway_takes_no_python_and_fewer_than_150_lines() -> None:
    text = (ROOT / "rigs/devices/bedside-gateway.yaml").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 150
    assert {surface["type"] for surface in YAML(typ="safe").load(text)["surfaces"].values()} == {"http", "dialogue"}
