"""What the surfaces of a device file have in common on which people log in."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from harness.rig.claim_base import Strict
from harness.rig.templates import Scalar

__all__ = ["ActionBase", "FieldCodec", "LogInSurface"]


class FieldCodec(Strict):
    """Where a field of the device stands in an answer: the name of the value, then a scale."""

    action: str = Field(description="Action whose answer holds it")
    name: str = Field(
        description=(
            "Name of the value in that answer: of the line in a dialogue, of the group in a message, or in a "
            "JSON body (`users/user` for each `user` in the list `users`, `users/#` for its length)"
        )
    )
    scale: float | None = Field(default=None, description="Makes a number of it and multiplies")


class ActionBase(Strict):
    """What every action declares, whatever kind of surface carries it out."""

    effects: tuple[str, ...] = Field(
        default=(),
        description=(
            "Effects of the action: `accounts`, `configuration`, `data`, `firmware`, `irreversible`, or "
            "`restart`. Empty: it only reads, in whatever state the device is, and `proofrig rig check` "
            "carries it out. To start a therapy is an effect"
        ),
    )
    changes: str = Field(default="", description="Field of the surface that shows what `args` changed")
    declined: bool = Field(
        default=False,
        description="With `args` the device refuses it to everybody: to who may, for another reason than the role",
    )

    open: bool = Field(default=False, description="It needs no log-in: whoever reaches the surface may do it")

    @property
    def stake(self) -> tuple[str, ...]:
        """Effects it may have on a device that does not keep its word; nothing where it only reads.

        What is refused to everybody was meant to change something, and nothing says what if it is not refused.
        """
        return self.effects or (("irreversible",) if self.declined else ())

    @property
    def harmless(self) -> Mapping[str, Scalar]:
        """Arguments a testcase may use without harm, by name and in order."""
        return {}

    def named(self) -> set[str]:
        """Return the names of the arguments it needs."""
        return set()

    @property
    def plain(self) -> bool:
        """Whether it is a request and its answer, and the line then takes the next request."""
        return True

    @property
    def ready(self) -> bool:
        """Whether everything it needs is declared, so that a testcase may carry it out knowing nothing of it."""
        return self.named() <= set(self.harmless)


class LogInSurface(Strict):
    """A surface on which people log in and carry out actions."""

    link: str
    accounts: tuple[str, ...]
    actions: Mapping[str, ActionBase]
    fields: Mapping[str, FieldCodec]

    @property
    def names_users(self) -> bool:
        """Whether a log-in says who it is; a PIN alone does not."""
        return True

    @property
    def asks_password(self) -> bool:
        """Whether people are known by a password."""
        return True

    @property
    def keeps_sessions(self) -> bool:
        """Whether the device keeps sessions, which have a beginning and an end."""
        return True
