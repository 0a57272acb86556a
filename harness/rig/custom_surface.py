"""Surfaces that no other kind can describe: a device file names the Python that drives them, by entry point."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from harness.rig.claim_base import Strict
from harness.rig.log_in_surface import ActionBase, FieldCodec, LogInSurface
from harness.rig.templates import Scalar, check_whole

__all__ = ["CustomAction", "CustomLogInSurface", "CustomSurface"]


class CustomSurface(Strict):
    """A surface on which fields are read, by a class of yours."""

    type: Literal["custom"] = "custom"
    link: str = Field(description="Any link; the class must be able to use it")
    entry_point: str = Field(
        description="Name in the group `proofrig.surfaces`, of a class derived from `CustomSurface`"
    )
    options: dict[str, Any] = Field(default={}, description="What the class is to know; it says itself which there are")


class CustomAction(ActionBase):
    """One action of a class of yours. `args` gives arguments a testcase may use without harm, by name."""

    args: dict[str, Scalar] = Field(default={}, description="Arguments a testcase may use without harm, in order")
    takes: tuple[str, ...] = Field(default=(), description="Names of arguments that have no harmless value")
    within: float | None = Field(default=None, gt=0, description="Seconds the device may take; else `answer_within`")

    def named(self) -> set[str]:
        """Return the names of its arguments."""
        return {*self.args, *self.takes}

    @property
    def ready(self) -> bool:
        """Whether everything it needs is declared."""
        return set(self.takes) <= set(self.args)


class CustomLogInSurface(LogInSurface):
    """A surface on which people log in and carry out actions, by a class of yours."""

    type: Literal["custom-log-in"] = "custom-log-in"
    link: str = Field(description="Any link; the class must be able to use it")
    entry_point: str = Field(
        description="Name in the group `proofrig.surfaces`, of a class derived from `CustomLogInSurface`"
    )
    options: dict[str, Any] = Field(default={}, description="What the class is to know; it says itself which there are")
    accounts: tuple[str, ...] = Field(description="Accounts that may log in here")
    actions: dict[str, CustomAction] = Field(description="By name")
    fields: dict[str, FieldCodec] = Field(description="By the name of the device's value")

    @field_validator("actions")
    @classmethod
    def _whole_operations(cls, actions: dict[str, CustomAction]) -> dict[str, CustomAction]:
        for name, action in actions.items():
            check_whole(name, action.named())
        return actions
