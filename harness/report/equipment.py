"""The bench equipment of a run: what it is, and whose calibration was overdue on the day of the run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from harness.clean import show_text
from harness.report.reading import RunRecord

__all__ = ["Piece", "equipment_of", "equipment_on"]

_FIELDS = ("name", "maker", "model", "serial", "calibration_due")


@dataclass(frozen=True, slots=True)
class Piece:
    """One piece of equipment. `calibration_due` is a date as YYYY-MM-DD, `not required`, or empty: not stated."""

    name: str
    maker: str
    model: str
    serial: str
    calibration_due: str
    overdue: bool

    @property
    def identity(self) -> str:
        """What it is, in words."""
        made = " ".join(filter(None, (self.maker, self.model)))
        return ", ".join(filter(None, (self.name, made, self.serial and f"serial {self.serial}")))

    @property
    def calibration(self) -> str:
        """How its calibration stands, in words."""
        match self.calibration_due:
            case "":
                return "calibration not stated"
            case "not required":
                return "calibration not required"
        return f"CALIBRATION OVERDUE since {self.calibration_due}" if self.overdue else f"due {self.calibration_due}"

    def __str__(self) -> str:
        return f"{self.identity}: {self.calibration}"


def equipment_of(run: RunRecord) -> tuple[Piece, ...]:
    """Return the equipment of a run; overdue is what was overdue when it began."""
    return equipment_on(datetime.fromisoformat(run.started).date(), run.rig.get("equipment", ()))


def equipment_on(day: date, pieces: Iterable[Mapping[str, Any]]) -> tuple[Piece, ...]:
    """Return pieces as the journal has them, judged on a day. On the day itself a calibration is still good."""
    return tuple(
        Piece(
            **{key: show_text(str(piece.get(key, "")), limit=200) for key in _FIELDS},
            overdue=_before(str(piece.get("calibration_due", "")), day),
        )
        for piece in pieces
    )


def _before(due: str, day: date) -> bool:
    try:
        return date.fromisoformat(due) < day
    except ValueError:
        return False  # not required, or not stated
