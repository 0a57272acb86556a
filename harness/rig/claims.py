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
    PatientExport,
    RestoreClaim,
    UpdateClaim,
    UpdateClass,
)

__all__ = [
    "AccountClaim",
    "AlarmClaim",
    "AlarmPlace",
    "Approval",
    "AuditClaim",
    "AuditClock",
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
    "PatientExport",
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
    "UpdateClass",
    "VersionClaim",
]


UTC_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
"""How most devices write a time (ISO 8601)."""


class PortsClaim(ClaimBase):
    """The open network ports, all of them."""

    type: Literal["ports"] = "ports"
    link: str = Field(description="A `network` link")
    tcp: tuple[int, ...] = Field(default=(), description="Open TCP ports")
    udp: tuple[int, ...] = Field(default=(), description="Open UDP ports")


class SshPolicyClaim(ClaimBase):
    """What the SSH server offers and what it refuses."""

    type: Literal["ssh-policy"] = "ssh-policy"
    link: str = Field(description="An `ssh` link")
    algorithms: dict[Literal["kex", "host_key", "cipher", "mac"], tuple[str, ...]] = Field(
        description="`kex`, `host_key`, `cipher`, `mac` → names"
    )
    methods: tuple[str, ...] = Field(description="Authentication methods offered")
    root: bool = Field(default=False, description="Root may log in")
    extras: tuple[Literal["sftp", "exec", "forwarding"], ...] = Field(
        default=(), description="What is served besides a shell: `sftp`, `exec`, `forwarding`"
    )


class BootLockedClaim(ClaimBase):
    """The boot loader cannot be interrupted; no shell without log-in."""

    type: Literal["boot-locked"] = "boot-locked"
    surface: str = Field(description="The console")
    up_within: float = Field(gt=0, description="Seconds from power-on to the log-in prompt")
    loader_banner: BytesPattern = Field(description="Regular expression of the boot loader's first line")
    loader_prompt: BytesPattern = Field(description="Regular expression of its prompt, which must never appear")


class VersionClaim(ClaimBase):
    """The same version is shown on every surface."""

    type: Literal["version"] = "version"
    surfaces: tuple[str, ...] = Field(description="Surfaces that show it")
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
    ] = Field(description="What is done")
    on: str = Field(description="Surface on which it is done")
    account: str = Field(default="", description="Who does it, where people log in")
    action: str = Field(default="", description="Action, with `action` and `denied-action`")
    leaves: dict[str, Pattern] = Field(description="Group of the record → regular expression of its whole value")

    @model_validator(mode="after")
    def _complete(self) -> AuditRecord:
        logged_in = self.by in ("log-in", "wrong-password", "log-out", "action", "denied-action")
        if logged_in != bool(self.account):
            raise ValueError(f"`account` is {'missing' if logged_in else 'of no use'} with `by: {self.by}`")
        if self.by.endswith("action") != bool(self.action):
            raise ValueError(f"`action` goes with `by: action` and `by: denied-action`, not with `by: {self.by}`")
        return self


class AuditClock(Strict):
    """How the device's clock is set, and how times are written: formats as in Python's `strftime`, in UTC."""

    record: str = Field(description="Kind of record, `by: action`, whose action sets the clock")
    argument: str = Field(description="Argument of that action that is the new time")
    written: str = Field(default=UTC_FORMAT, description="Format of the argument")
    shown: str = Field(default=UTC_FORMAT, description="Format of the group `time` of a record")
    tolerance: float = Field(default=2.0, gt=0, description="Seconds that the time of a record may be off")


class AuditClaim(ClaimBase):
    """What is done is in the audit log, in order and without gaps, and stays; only the named roles may read it."""

    type: Literal["audit"] = "audit"
    surface: str = Field(description="Surface on which the log is read")
    action: str = Field(description="Action that answers the latest records, oldest first")
    readers: tuple[str, ...] = Field(description="Roles that may read it, all of them")
    line: str = Field(default="audit", description="Name of the values of the answer that are records")
    record: Pattern = Field(description="Regular expression of a record with groups; `number` rises by one")
    records: dict[str, AuditRecord] = Field(description="By the name of a kind of record")
    keeps: int | None = Field(default=None, ge=1, description="Records that are kept at least; the oldest go first")
    shows: int | None = Field(
        default=None, ge=1, description="Records that one answer holds at most; none: all that are kept"
    )
    fills: str = Field(
        default="",
        description=(
            "Name of the kind of record that fills the log, one `by: action` or `by: denied-action`; with `keeps`"
        ),
    )
    clock: AuditClock | None = Field(default=None, description="Audit clock, where the clock can be set")

    @model_validator(mode="after")
    def _groups(self) -> AuditClaim:
        known = set(re.compile(self.record).groupindex)
        wanted = {"number"} | {name for record in self.records.values() for name in record.leaves}
        wanted |= {"time"} if self.clock is not None else set()
        if missing := sorted(wanted - known):
            raise ValueError(f"`record` has no group {', '.join(missing)}; it has {', '.join(sorted(known))}")
        return self

    @model_validator(mode="after")
    def _kinds(self) -> AuditClaim:
        if (self.keeps is None) == bool(self.fills):
            raise ValueError("`keeps` and `fills` go together")
        if self.fills:
            self._expect_kind("fills", self.fills, ("action", "denied-action"))
        if self.clock is not None:
            self._expect_kind("clock.record", self.clock.record, ("action",))
        return self

    def _expect_kind(self, key: str, kind: str, ways: tuple[str, ...]) -> None:
        record = self.records.get(kind)
        if record is None or record.by not in ways:
            raise ValueError(f"`{key}` must name one of `records` with `by: {' or '.join(ways)}`, not {kind!r}")


class AvailabilityClaim(ClaimBase):
    """The device withstands floods and malformed input on these surfaces and answers again within `recovery`."""

    type: Literal["availability"] = "availability"
    surfaces: tuple[str, ...] = Field(description="Surfaces it holds for")
    recovery: float = Field(
        gt=0, description="Seconds after an attack until the surface answers again; 5 where nothing is claimed"
    )


class AlarmPlace(Strict):
    """Where an alarm is shown: a field of a surface, or one of the essential performance's."""

    surface: str = Field(default="", description="Surface; a field of the claim `performance` where there is none")
    field: str = Field(description="Its field (of a UDS server: its identifier)")
    raised: str = Field(description="What it reads while the alarm lasts, a number without needless zeros: `'9'`")
    quiet: str = Field(description="What it reads otherwise")


class AlarmClaim(ClaimBase):
    """An alarm is shown in time in every place, also during an update, and the therapy goes on.

    `action` raises it without harm, on each of `surfaces`.
    """

    type: Literal["alarms"] = "alarms"
    surfaces: tuple[str, ...] = Field(description="Surfaces on which it can be raised")
    action: str = Field(description="Declared action of each of them that raises it")
    acknowledge: str = Field(
        default="", description="Declared action of the same surfaces that ends it, without a change of the therapy"
    )
    shown: tuple[AlarmPlace, ...] = Field(min_length=1, description="Where it is shown, everywhere")
    within: float = Field(gt=0, description="Seconds until it is shown, and until its end is")
    lasts: float | None = Field(
        default=None, gt=0, description="Seconds after which it is over by itself; either this or `acknowledge`"
    )
    performance: str = Field(
        default="", description="Id of the claim `essential-performance` whose therapy goes on meanwhile"
    )

    @model_validator(mode="after")
    def _one_end(self) -> AlarmClaim:
        if bool(self.acknowledge) == (self.lasts is not None):
            raise ValueError("give either `acknowledge` or `lasts`")
        return self


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
    | AlarmClaim
    | EssentialPerformanceClaim
    | PatientClaim
    | BackupClaim
    | RestoreClaim
    | UpdateClaim
    | FirstUseClaim
    | EndOfLifeClaim,
    Field(discriminator="type"),
]
