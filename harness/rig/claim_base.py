"""What every claim carries: where it is written down (`source`) and who stands behind it (`status`).

What a scan wrote is `observed` and can never yield a PASS.
"""

from __future__ import annotations

import re
from datetime import date
from enum import StrEnum
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

__all__ = ["Approval", "BytesPattern", "ClaimBase", "Pattern", "Source", "Status", "Strict"]


class Strict(BaseModel):
    """Base of everything read from a file people edit: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _compiles(text: str) -> str:
    try:
        re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"not a regular expression: {error}") from None
    return text


def _compiles_for_bytes(text: str) -> str:
    try:
        re.compile(text.encode())
    except (re.error, OverflowError, RecursionError, UnicodeEncodeError) as error:
        raise ValueError(f"not a regular expression for bytes: {error}") from None
    return text


Pattern = Annotated[str, AfterValidator(_compiles)]
"""A regular expression for text."""
BytesPattern = Annotated[str, AfterValidator(_compiles_for_bytes)]
"""A regular expression for what is searched as bytes: the console, an answer, a file."""


class Status(StrEnum):
    """Who stands behind a claim."""

    OBSERVED = "observed"
    PROPOSED = "proposed"
    APPROVED = "approved"


class Source(Strict):
    """Where a claim is written down."""

    document: str = Field(description="Name or number of the document")
    revision: str = Field(description="Revision or date")
    section: str = Field(description="Section")

    def __str__(self) -> str:
        return f"{self.document} rev. {self.revision} § {self.section}"


class Approval(Strict):
    """Who approved a claim, and when. `proofrig device approve` writes it, and records it beside the device file."""

    by: str = Field(min_length=1, description="Name of the person")
    on: date = Field(description="`2026-11-22`")

    def __str__(self) -> str:
        return f"{self.by}, {self.on.isoformat()}"


class ClaimBase(Strict):
    """What every claim carries."""

    source: Source = Field(description="Where it is written down")
    status: Status = Field(
        default=Status.PROPOSED,
        description="`observed`: a scan wrote it and nobody stands behind it; it can never yield a PASS",
    )
    approval: Approval | None = Field(default=None, description="Who approved it; written by `proofrig device approve`")
    requirements: tuple[str, ...] = Field(default=(), description="Requirement ids, for traceability")
    risks: tuple[str, ...] = Field(default=(), description="Risk ids")
    designs: tuple[str, ...] = Field(default=(), description="Design item ids")
    source_units: tuple[str, ...] = Field(default=(), description="Source unit names")

    @model_validator(mode="after")
    def _approved(self) -> Self:
        if self.approval is not None and self.status is not Status.APPROVED:
            raise ValueError(f"`approval` goes with `status: approved`, not with {self.status.value}")
        return self
