"""Claims: the checkable statements of a device file, each with its source, status and scope.

Every claim names where it comes from (`source`) and who stands behind it (`status`): what a scan wrote is
`observed` and can never yield a PASS. Durations are seconds.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = [
    "AccountClaim",
    "AuditClaim",
    "AuditRecord",
    "AvailabilityClaim",
    "BootLockedClaim",
    "BusCommandClaim",
    "Claim",
    "ClaimBase",
    "EssentialPerformanceClaim",
    "IdleLogOffClaim",
    "LockoutClaim",
    "ModbusMapClaim",
    "PermissionClaim",
    "PortsClaim",
    "SecurityAccessClaim",
    "Source",
    "SshPolicyClaim",
    "Status",
    "UdsServicesClaim",
    "VersionClaim",
]


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


class AccountClaim(ClaimBase):
    """These accounts exist on these surfaces, and no others; no default, empty or guessable password opens them."""

    type: Literal["accounts"] = "accounts"
    surfaces: tuple[str, ...]
    accounts: tuple[str, ...]
    weak_passwords: tuple[str, ...] = Field(default=(), description="Further passwords the device must refuse")
    unknown_alike: bool = Field(default=False, description="Unknown users are refused as wrong passwords are")


class LockoutClaim(ClaimBase):
    """After `threshold` refused log-ins in a row the account, surface or source is locked for `release` seconds."""

    type: Literal["lockout"] = "lockout"
    surfaces: tuple[str, ...]
    scope: Literal["account", "surface", "source"]
    threshold: int = Field(ge=1, le=100)
    release: float = Field(gt=0, description="Seconds until the lock is released")
    tolerance: float = Field(ge=0, description="Seconds")


class IdleLogOffClaim(ClaimBase):
    """A session is logged off after `after` seconds without input."""

    type: Literal["idle-logoff"] = "idle-logoff"
    surfaces: tuple[str, ...]
    after: float = Field(gt=0, description="Seconds")
    tolerance: float = Field(ge=0, description="Seconds")


class PermissionClaim(ClaimBase):
    """Which role may do which action on these surfaces; what is not listed is refused."""

    type: Literal["permissions"] = "permissions"
    surfaces: tuple[str, ...]
    allowed: dict[str, tuple[str, ...]] = Field(description="Role → actions the role may do")


class PortsClaim(ClaimBase):
    """The open network ports, all of them."""

    type: Literal["ports"] = "ports"
    link: str
    tcp: tuple[int, ...] = ()
    udp: tuple[int, ...] = ()


class SshPolicyClaim(ClaimBase):
    """What the SSH server offers and what it refuses."""

    type: Literal["ssh-policy"] = "ssh-policy"
    link: str
    algorithms: dict[Literal["kex", "host_key", "cipher", "mac"], tuple[str, ...]]
    methods: tuple[str, ...] = Field(description="Authentication methods a client may use")
    root: bool = Field(default=False, description="root may log in")
    extras: tuple[Literal["sftp", "exec", "forwarding"], ...] = Field(default=(), description="What else is served")


class BootLockedClaim(ClaimBase):
    """The boot loader cannot be interrupted; no shell without log-in."""

    type: Literal["boot-locked"] = "boot-locked"
    surface: str
    up_within: float = Field(gt=0, description="Seconds from power-on to the log-in prompt")
    loader_banner: str = Field(description="Regular expression of the boot loader's first line")
    loader_prompt: str = Field(description="Regular expression of a boot loader prompt, which must never appear")


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


class VersionClaim(ClaimBase):
    """The same version is shown on every surface."""

    type: Literal["version"] = "version"
    surfaces: tuple[str, ...]
    pattern: str = Field(description="Regular expression of the naming rule")


class AuditRecord(Strict):
    """One thing that is done, and the record it must leave.

    `by` says what is done on the surface `on`: the log-ins, `log-out`, `action` and `denied-action` on a dialogue, with
    `account` (and `action`); `wrong-authenticator` on a command bus; `protected-write` on Modbus; `right-key` and
    `wrong-key` of the security access on UDS.
    """

    by: Literal[
        "log-in",
        "wrong-password",
        "log-out",
        "action",
        "denied-action",
        "wrong-authenticator",
        "protected-write",
        "right-key",
        "wrong-key",
    ]
    on: str = Field(description="Surface on which it is done")
    account: str = Field(default="", description="Who does it, on a dialogue")
    action: str = Field(default="", description="Declared action, for `action` and `denied-action`")
    leaves: dict[str, str] = Field(description="Field of the record → regular expression of its whole value")

    @model_validator(mode="after")
    def _complete(self) -> AuditRecord:
        on_dialogue = self.by in ("log-in", "wrong-password", "log-out", "action", "denied-action")
        if on_dialogue != bool(self.account):
            raise ValueError(f"`account` is {'missing' if on_dialogue else 'of no use'} with `by: {self.by}`")
        if self.by.endswith("action") != bool(self.action):
            raise ValueError(f"`action` goes with `by: action` and `by: denied-action`, not with `by: {self.by}`")
        return self


class AuditClaim(ClaimBase):
    """What is done is in the audit log, in order and without gaps; only the named roles may read it."""

    type: Literal["audit"] = "audit"
    surface: str = Field(description="Dialogue on which the log is read")
    action: str = Field(description="Declared action that answers the latest records, oldest first")
    readers: tuple[str, ...] = Field(description="Roles that may read it, all of them")
    line: str = Field(default="audit", description="Name of the `name: value` lines that are records")
    record: str = Field(description="Regular expression of a record, with groups; `number` rises by one")
    records: dict[str, AuditRecord] = Field(description="Name of a kind of record → how it comes about")

    @model_validator(mode="after")
    def _groups(self) -> AuditClaim:
        known = set(re.compile(self.record).groupindex)
        wanted = {"number"} | {name for record in self.records.values() for name in record.leaves}
        if missing := sorted(wanted - known):
            raise ValueError(f"`record` has no group {', '.join(missing)}; it has {', '.join(sorted(known))}")
        return self


class AvailabilityClaim(ClaimBase):
    """The device withstands floods and malformed input on these surfaces and answers again within `recovery`."""

    type: Literal["availability"] = "availability"
    surfaces: tuple[str, ...]
    recovery: float = Field(gt=0, description="Seconds after the attack until the surface answers again")


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


Claim = Annotated[
    AccountClaim
    | LockoutClaim
    | IdleLogOffClaim
    | PermissionClaim
    | PortsClaim
    | SshPolicyClaim
    | BootLockedClaim
    | BusCommandClaim
    | UdsServicesClaim
    | SecurityAccessClaim
    | ModbusMapClaim
    | VersionClaim
    | AuditClaim
    | AvailabilityClaim
    | EssentialPerformanceClaim,
    Field(discriminator="type"),
]
