"""What every claim carries: where it is written down (`source`) and who stands behind it (`status`).

What a scan wrote is `observed` and can never yield a PASS.
"""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["ClaimBase", "Source", "Status", "Strict"]


class Strict(BaseModel):
    """Base of everything read from a file people edit: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Status(StrEnum):
    """Who stands behind a claim."""

    OBSERVED = "observed"
    PROPOSED = "proposed"
    APPROVED = "approved"


class Source(Strict):
    """Where a claim is written down."""

    document: str = Field(description="Document name or number")
    revision: str = Field(description="Revision or date of the document")
    section: str = Field(description="Section that states the claim")

    def __str__(self) -> str:
        return f"{self.document} rev. {self.revision} § {self.section}"


class ClaimBase(Strict):
    """What every claim carries."""

    source: Source
    status: Status = Status.PROPOSED
    requirements: tuple[str, ...] = Field(default=(), description="Requirement ids this claim answers")
    risks: tuple[str, ...] = Field(default=(), description="Risk ids this claim mitigates")
    designs: tuple[str, ...] = Field(default=(), description="Design item ids")
    source_units: tuple[str, ...] = Field(default=(), description="Source unit names")
