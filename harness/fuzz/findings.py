"""Findings: inputs that harm the device, written down so that anybody can send them again.

A finding is a JSON file in the folder `findings` of a run.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.clean import file_name, show_text
from harness.errors import UsageError
from harness.fuzz.cases import FuzzCase

__all__ = ["Finding", "read_finding", "write_finding"]

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class Finding:
    """What harmed the device. `cases` are sent in this order, on a fresh baseline.

    `challenge` is the claim that was falsified for the run, if one was: the finding says nothing about the device then.
    """

    device: str
    surface: str
    claim: str
    model: str
    seed: int
    harm: str
    observed: str
    cases: tuple[FuzzCase, ...]
    confirmed: bool
    trials: int
    testcase: str = ""
    challenge: str = ""


def write_finding(run_dir: Path, finding: Finding) -> Path:
    """Write or overwrite the finding of this surface and first case; return its path."""
    folder = run_dir / "findings"
    folder.mkdir(exist_ok=True)
    path = folder / f"{file_name(finding.testcase.rsplit('::', 1)[-1] or finding.surface)}-{finding.seed}.json"
    document: dict[str, Any] = {
        "finding": SCHEMA_VERSION,
        "device": finding.device,
        "surface": finding.surface,
        "testcase": finding.testcase,
        "claim": finding.claim,
        "harm": finding.harm,
        "observed": show_text(finding.observed),
        "confirmed": finding.confirmed,
        "trials": finding.trials,
        "model": finding.model,
        "seed": finding.seed,
        "cases": [
            {"id": case.id, "state": case.state, "length": len(case.data), "data": case.data.hex()}
            for case in finding.cases
        ],
        **({"challenge": finding.challenge} if finding.challenge else {}),
        "again": f"proofrig replay {folder.name}/{path.name} RIG.yaml",
    }
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return path


def read_finding(path: Path) -> Finding:
    """Read a finding.

    Raises:
        UsageError: the file is no finding of this version.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        if raw["finding"] != SCHEMA_VERSION:
            raise UsageError(f"finding version {raw['finding']} is not known", where=str(path))
        return Finding(
            device=raw["device"],
            surface=raw["surface"],
            claim=raw["claim"],
            model=raw["model"],
            seed=raw["seed"],
            harm=raw["harm"],
            observed=raw["observed"],
            cases=tuple(_cases(raw["cases"])),
            confirmed=raw["confirmed"],
            trials=raw["trials"],
            testcase=raw["testcase"],
            challenge=raw.get("challenge", ""),
        )
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror}", where=str(path)) from error
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"is no finding: {error!r}", where=str(path), hint="give a file of a run's findings/"
        ) from error


def _cases(raw: Sequence[dict[str, str]]) -> list[FuzzCase]:
    return [FuzzCase(id=case["id"], state=case["state"], data=bytes.fromhex(case["data"])) for case in raw]
