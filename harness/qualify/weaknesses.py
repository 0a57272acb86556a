"""The weakness catalogue of a firmware fixture: which flaw must make which testcases FAIL."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field, ValidationError
from ruamel.yaml import YAML

from harness.errors import UsageError
from harness.rig.claims import Strict

__all__ = ["Weakness", "load_weaknesses", "rounds"]


class Weakness(Strict):
    """A flaw put on purpose into a firmware fixture."""

    name: str
    description: str
    interface: str = Field(description="Section of the interface specification that it breaks")
    flash: str | None = Field(default=None, description="Flash image of the fixture that it needs")
    fails: tuple[str, ...] = Field(description="Testcases that it proves: they must FAIL, each as `ID[instance]`")
    collateral: tuple[str, ...] = Field(
        default=(), description="Testcases that FAIL too, as what they try to have refused is accepted"
    )
    undecided: tuple[str, ...] = Field(
        default=(), description="Testcases that come to INCONCLUSIVE, as the device says what no document of it knows"
    )
    alone: bool = Field(default=False, description="Other flaws would hide it, or it them: never tried with another")

    @property
    def declared(self) -> list[str]:
        """Every testcase that must FAIL, sorted; no other may."""
        return sorted({*self.fails, *self.collateral})

    @property
    def touched(self) -> set[str]:
        """Every testcase that does not come to what it comes to without the flaw."""
        return {*self.declared, *self.undecided}


def rounds(weaknesses: Sequence[Weakness]) -> list[tuple[Weakness, ...]]:
    """Share out weaknesses among as few trials as will do: those of one trial have no testcase and no flash in dispute.

    What a trial must FAIL is the union of what its weaknesses declare. Which of them made a testcase FAIL is known by
    declaration only: a trial of each weakness by itself shows it.
    """
    found: list[list[Weakness]] = []
    for weakness in weaknesses:
        fitting = (each for each in found if all(_go_together(weakness, other) for other in each))
        place = next(fitting, None)
        if place is None:
            found.append([weakness])
        else:
            place.append(weakness)
    return [tuple(each) for each in found]


def _go_together(one: Weakness, other: Weakness) -> bool:
    apart = not one.touched & other.touched
    return apart and one.flash == other.flash and not one.alone and not other.alone


class _Catalogue(Strict):
    weaknesses: tuple[Weakness, ...]


def load_weaknesses(path: Path) -> tuple[Weakness, ...]:
    """Read a weakness catalogue.

    Raises:
        UsageError: it is missing or breaks its model.
    """
    try:
        data = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
        return _Catalogue.model_validate(data).weaknesses
    except OSError as error:
        raise UsageError(f"no weakness catalogue: {error.strerror}", where=str(path)) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = f"{path}: {'.'.join(map(str, first['loc']))}"
        raise UsageError(str(first["msg"]), where=where) from error
