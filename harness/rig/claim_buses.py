"""Claims about field buses and lines: commands, framing, services, registers, the essential performance as a signal."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, model_validator

from harness.rig.can_database import CanId, SignalName
from harness.rig.claim_base import ClaimBase, Strict

__all__ = [
    "BusCommandClaim",
    "EssentialPerformanceClaim",
    "FramingClaim",
    "ModbusMapClaim",
    "SecurityAccessClaim",
    "SignalField",
    "UdsServicesClaim",
]


class BusCommandClaim(ClaimBase):
    """Commands on a bus are accepted only with a fresh, right authenticator."""

    type: Literal["bus-commands"] = "bus-commands"
    surface: str = Field(description="A `bus-commands` surface")
    replay_protected: bool = Field(default=True, description="A recorded command is not accepted again")


class UdsServicesClaim(ClaimBase):
    """The diagnostic services by session, all of them."""

    type: Literal["uds-services"] = "uds-services"
    surface: str = Field(description="A `uds` surface")
    services: dict[str, tuple[int, ...]] = Field(description="Session name → service identifiers")
    identifiers: tuple[int, ...] = Field(description="Data identifiers that can be read")


class SecurityAccessClaim(ClaimBase):
    """Diagnostic security access: random seeds, a key nobody can guess, a delay after wrong keys."""

    type: Literal["security-access"] = "security-access"
    surface: str = Field(description="A `uds` surface")
    attempts: int = Field(ge=1, description="Wrong keys until the delay starts")
    delay: float = Field(gt=0, description="Seconds")
    tolerance: float = Field(ge=0, description="Seconds")


class ModbusMapClaim(ClaimBase):
    """Function codes and registers of a Modbus server, all of them; exceptions as the standard says."""

    type: Literal["modbus-map"] = "modbus-map"
    surfaces: tuple[str, ...] = Field(description="Surfaces it holds for")
    functions: tuple[int, ...] = Field(description="Function codes, all of them")


_SIZES = {"u8": 1, "u16": 2, "u32": 4}


class SignalField(Strict):
    """One value inside a bus frame: a signal of a CAN database, or bytes of a frame, big-endian."""

    signal: SignalName | None = Field(default=None, description="`MESSAGE.SIGNAL` of a database under `dbc`")
    frame: CanId | None = Field(default=None, description="CAN identifier")
    offset: int | None = Field(default=None, ge=0, description="First byte")
    type: Literal["u8", "u16", "u32"] | None = Field(default=None, description="Size; big-endian")
    scale: float = Field(default=1.0, description="Multiplies; a signal's own scale is in the database")
    max_age: float | None = Field(
        default=None,
        gt=0,
        description=(
            "Seconds after which the value is out of date; without it the heartbeat's `max_gap`. For a value "
            "in another frame that comes more rarely than the heartbeat"
        ),
    )

    @model_validator(mode="after")
    def _one_way(self) -> SignalField:
        by_bytes = [name for name in ("frame", "offset", "type") if getattr(self, name) is not None]
        if len(by_bytes) != (0 if self.signal else 3):
            raise ValueError("give `signal`, or all of `frame`, `offset` and `type`")
        return self

    @property
    def word(self) -> int:
        """Identifier of the frame that carries it, bit 31 set where it has 29 bits."""
        if self.signal is not None:
            return self.signal.word
        assert self.frame is not None
        return self.frame

    def decode(self, data: bytes) -> float | None:
        """Return the value in the data of its frame: None where that carries other signals, NaN if unreadable."""
        if self.signal is not None:
            value = self.signal.decode(data)
            return None if value is None else value * self.scale
        assert self.offset is not None
        assert self.type is not None
        raw = data[self.offset : self.offset + _SIZES[self.type]]
        return int.from_bytes(raw) * self.scale if len(raw) == _SIZES[self.type] else math.nan


class EssentialPerformanceClaim(ClaimBase):
    """The essential performance as a signal on a bus, watched during every testcase."""

    type: Literal["essential-performance"] = "essential-performance"
    link: str = Field(description="A `can` link")
    heartbeat: CanId = Field(description="Identifier of the periodic frame")
    max_gap: float = Field(gt=0, description="Seconds between two of them at most")
    fields: dict[str, SignalField] = Field(description="By a name of your choice")
    value: str = Field(description="Field that is limited")
    target: str = Field(description="Field it is compared with")
    percent: float = Field(gt=0, description="How far it may be off, percent of the target")
    settle: float = Field(
        ge=0, description="Seconds after a change of target or applicability in which it is not judged"
    )
    applies_when: dict[str, float] = Field(description="Field → value while the limit applies")
    self_reported: bool = Field(description="The device reports this about itself: no independent instrument")


Damage = Literal["checksum", "truncated", "oversized", "control"]
"""A wrong checksum; an end that is missing; more bytes than the longest; a control byte in the text."""


class FramingClaim(ClaimBase):
    """A damaged message is not carried out: it is answered by a refusal, or not answered at all."""

    type: Literal["framing"] = "framing"
    surfaces: tuple[str, ...] = Field(description="Surfaces of type `messages` it holds for")
    account: str = Field(description="Account that may do `action`")
    action: str = Field(description="Action with `args` and `changes`: sent damaged, then as it should be")
    refused: tuple[Damage, ...] = Field(default=(), description="Damages that are answered by a refusal")
    ignored: tuple[Damage, ...] = Field(default=(), description="Damages that are not answered")

    @model_validator(mode="after")
    def _each_once(self) -> FramingClaim:
        if both := set(self.refused) & set(self.ignored):
            raise ValueError(f"{', '.join(sorted(both))} cannot be refused and ignored")
        return self
