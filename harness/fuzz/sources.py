"""Where fuzz cases come from: the plug-ins of the entry-point group `proofrig.case_sources`."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from collections.abc import Sequence
from typing import Protocol

from harness.errors import BenchFault, UsageError
from harness.fuzz.cases import Drawn, FuzzCase, read_cases
from harness.fuzz.grammar import Model

__all__ = ["BoofuzzSource", "CaseSource", "case_sources", "draw"]

GROUP = "proofrig.case_sources"
_GENERATE_SECONDS = 60.0


class CaseSource(Protocol):
    """Draws cases from a model; the same ones for the same model, count and seed."""

    name: str

    def draw(self, model: Model, count: int, *, seed: int) -> Drawn:
        """Return up to `count` cases.

        Raises:
            UsageError: something the source needs is not installed.
            BenchFault: it did not deliver.
        """


class BoofuzzSource:
    """boofuzz, run as the separate program `harness.fuzz.boofuzz_source`."""

    name = "boofuzz"

    def draw(self, model: Model, count: int, *, seed: int) -> Drawn:
        """Return up to `count` mutations, spread over the model's fields."""
        command = [sys.executable, "-m", "harness.fuzz.boofuzz_source", f"--count={count}", f"--seed={seed}", "-"]
        try:
            done = subprocess.run(
                command, input=model.to_json().encode(), capture_output=True, timeout=_GENERATE_SECONDS, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise BenchFault(f"boofuzz made no cases within {_GENERATE_SECONDS:g} s") from error
        said = done.stderr.decode(errors="backslashreplace").strip()[-500:]
        if done.returncode == 3:
            raise UsageError(said, hint="pip install 'proofrig[fuzz]' (GPL-2.0-only, run as a separate program)")
        if done.returncode:
            raise BenchFault(f"boofuzz ended with code {done.returncode}: {said}")
        try:
            return read_cases(done.stdout)
        except ValueError as error:
            raise BenchFault(f"boofuzz: {error}") from error


def case_sources() -> list[CaseSource]:
    """Return one of every installed case source, by name.

    Raises:
        UsageError: none is installed.
    """
    found = sorted(importlib.metadata.entry_points(group=GROUP), key=lambda entry: entry.name)
    if not found:
        raise UsageError(f"no case source is installed (entry points {GROUP})", hint="pip install -e . once more")
    return [entry.load()() for entry in found]


def draw(
    model: Model, count: int, *, seed: int, sources: Sequence[CaseSource]
) -> tuple[list[FuzzCase], dict[str, int]]:
    """Draw `count` cases, evenly from `sources`; what one cannot give the next one does.

    Returns the cases, sources mixed, and how many came from each. Fewer than `count` only if all are exhausted.
    """
    share = {source.name: 0 for source in sources}
    columns: list[Sequence[FuzzCase]] = []
    missing = count
    for number, source in enumerate(sources):
        wanted = -(-missing // (len(sources) - number))
        drawn = source.draw(model, wanted, seed=seed)
        columns.append(drawn.cases)
        share[source.name] = len(drawn.cases)
        missing -= len(drawn.cases)
    mixed = [column[row] for row in range(max(map(len, columns), default=0)) for column in columns if row < len(column)]
    return mixed, share
