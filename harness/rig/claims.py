"""Claims: the checkable statements of a device file, each with its source, status and scope.

Every claim names where it comes from (`source`) and who stands behind it (`status`). Durations are seconds. Those about
access, buses and the life of the device have modules of their own; all of them can be had from here.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, model_validator

from harness.rig.claim_access import (
    AccountClaim,
    IdleLogOffClaim,
    LockoutClaim,
    PasswordRuleClaim,
    PermissionClaim,
    SessionClaim,
)
from harness.rig.claim_base import Approval, BytesPattern, ClaimBase, Pattern, Source, Status, Strict
from harness.rig.claim_buses import (
    BusCommandClaim,
    EssentialPerformanceClaim,
    FramingClaim,
    ModbusMapClaim,
    SecurityAccessClaim,
    SignalField,
    UdsServicesClaim,
)
from harness.rig.claim_life import (
    BackupClaim,
    BackupPart,
    EndOfLifeClaim,
    FirstUseClaim,
    PatientClaim,
    RestoreClaim,
    UpdateClaim,
)

__all__ = [
    "AccountClaim",
    "Approval",
    "AuditClaim",
    "AuditRecord",
    "AvailabilityClaim",
    "BackupClaim",
    "BackupPart",
    "BootLockedClaim",
    "BusCommandClaim",
    "Claim",
    "ClaimBase",
    "EndOfLifeClaim",
    "EssentialPerformanceClaim",
    "FirstUseClaim",
    "FramingClaim",
    "IdleLogOffClaim",
    "LockoutClaim",
    "ModbusMapClaim",
    "PasswordRuleClaim",
    "PatientClaim",
    "PermissionClaim",
    "PortsClaim",
    "RestoreClaim",
    "SecurityAccessClaim",
    "SessionClaim",
    "SignalField",
    "Source",
    "SshPolicyClaim",
    "Status",
    "Strict",
    "UdsServicesClaim",
    "UpdateClaim",
    "VersionClaim",
]


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
    loader_banner: BytesPattern = Field(description="Regular expression of the boot loader's first line")
    loader_prompt: BytesPattern = Field(
        description="Regular expression of a boot loader prompt, which must never appear"
    )


class VersionClaim(ClaimBase):
    """The same version is shown on every surface."""

    type: Literal["version"] = "version"
    surfaces: tuple[str, ...]
    pattern: Pattern = Field(description="Regular expression of the naming rule")


class AuditRecord(Strict):
    """One thing that is done, and the record it must leave.

    `by` says what is done on the surface `on`: the log-ins, `log-out`, `action` and `denied-action` where people log
    in, with `account` (and `action`); `wrong-authenticator` on a command bus; `protected-write` on Modbus;
    `right-key` and `wrong-key` of the security access on UDS.
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
    account: str = Field(default="", description="Who does it, where people log in")
    action: str = Field(default="", description="Declared action, for `action` and `denied-action`")
    leaves: dict[str, Pattern] = Field(description="Field of the record → regular expression of its whole value")

    @model_validator(mode="after")
    def _complete(self) -> AuditRecord:
        logged_in = self.by in ("log-in", "wrong-password", "log-out", "action", "denied-action")
        if logged_in != bool(self.account):
            raise ValueError(f"`account` is {'missing' if logged_in else 'of no use'} with `by: {self.by}`")
        if self.by.endswith("action") != bool(self.action):
            raise ValueError(f"`action` goes with `by: action` and `by: denied-action`, not with `by: {self.by}`")
        return self


class AuditClaim(ClaimBase):
    """What is done is in the audit log, in order and without gaps; only the named roles may read it."""

    type: Literal["audit"] = "audit"
    surface: str = Field(description="Surface on which the log is read")
    action: str = Field(description="Declared action that answers the latest records, oldest first")
    readers: tuple[str, ...] = Field(description="Roles that may read it, all of them")
    line: str = Field(default="audit", description="Name of the values of the answer that are records")
    record: Pattern = Field(description="Regular expression of a record, with groups; `number` rises by one")
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


Claim = Annotated[
    AccountClaim
    | LockoutClaim
    | IdleLogOffClaim
    | PermissionClaim
    | SessionClaim
    | PasswordRuleClaim
    | PortsClaim
    | SshPolicyClaim
    | BootLockedClaim
    | BusCommandClaim
    | UdsServicesClaim
    | SecurityAccessClaim
    | ModbusMapClaim
    | FramingClaim
    | VersionClaim
    | AuditClaim
    | AvailabilityClaim
    | EssentialPerformanceClaim
    | PatientClaim
    | BackupClaim
    | RestoreClaim
    | UpdateClaim
    | FirstUseClaim
    | EndOfLifeClaim,
    Field(discriminator="type"),
]
