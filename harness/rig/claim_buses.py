"""Claims about field buses and lines: commands, framing, services, registers, the essential performance as a signal."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

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
    surface: str
    replay_protected: bool = True


class UdsServicesClaim(ClaimBase):
    """The diagnostic services by session, all of them."""

    type: Literal["uds-services"] = "uds-services"
    surface: str
    services: dict[str, tuple[int, ...]] = Field(description="Session name → service identifiers")
    identifiers: tuple[int, ...] = Field(description="Data identifiers that can be read")


class SecurityAccessClaim(ClaimBase):
    """Diagnostic security access: random seeds, a key nobody can guess, a delay after wrong keys."""

    type: Literal["security-access"] = "security-access"
    surface: str
    attempts: int = Field(ge=1, description="Wrong keys until the delay starts")
    delay: float = Field(gt=0, description="Seconds")
    tolerance: float = Field(ge=0)


class ModbusMapClaim(ClaimBase):
    """Function codes and registers of a Modbus server, all of them; exceptions as the standard says."""

    type: Literal["modbus-map"] = "modbus-map"
    surfaces: tuple[str, ...]
    functions: tuple[int, ...]


class SignalField(Strict):
    """One value inside a bus frame."""

    frame: int
    offset: int = Field(ge=0)
    type: Literal["u8", "u16", "u32"]
    scale: float = 1.0


class EssentialPerformanceClaim(ClaimBase):
    """The essential performance as a signal on a bus, watched during every testcase."""

    type: Literal["essential-performance"] = "essential-performance"
    link: str
    heartbeat: int = Field(description="Identifier of the periodic frame")
    max_gap: float = Field(gt=0, description="Seconds between two heartbeats at most")
    fields: dict[str, SignalField]
    value: str = Field(description="Field that is limited")
    target: str = Field(description="Field it is compared with")
    percent: float = Field(gt=0)
    settle: float = Field(ge=0, description="Seconds after a change of target or applicability")
    applies_when: dict[str, float] = Field(description="Field → value while the limit applies")
    self_reported: bool = Field(description="The suspect reports this signal about itself")


Damage = Literal["checksum", "truncated", "oversized", "control"]
"""A wrong checksum; an end that is missing; more bytes than the longest; a control byte in the text."""


class FramingClaim(ClaimBase):
    """A damaged message is not carried out: it is answered by a refusal, or not answered at all."""

    type: Literal["framing"] = "framing"
    surfaces: tuple[str, ...]
    account: str = Field(description="Account that may do `action`")
    action: str = Field(description="Action with `args` and `changes`: sent damaged, then as it should be")
    refused: tuple[Damage, ...] = Field(default=(), description="Damages that are answered by a refusal")
    ignored: tuple[Damage, ...] = Field(default=(), description="Damages that are not answered")

    @model_validator(mode="after")
    def _each_once(self) -> FramingClaim:
        if both := set(self.refused) & set(self.ignored):
            raise ValueError(f"{', '.join(sorted(both))} cannot be refused and ignored")
        return self
