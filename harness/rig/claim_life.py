"""Claims about what happens to a device and its data from first use to end of life."""

from __future__ import annotations

import re
from typing import Literal, cast, get_args

from pydantic import Field, model_validator

from harness.rig.claim_base import BytesPattern, ClaimBase, Pattern, Strict

__all__ = [
    "BackupClaim",
    "BackupPart",
    "EndOfLifeClaim",
    "FirstUseClaim",
    "PatientClaim",
    "PatientExport",
    "RestoreClaim",
    "UpdateChange",
    "UpdateClaim",
    "UpdateClass",
    "UpdateRefusal",
]

Kept = Literal["configuration", "users", "patients", "therapy", "audit"]
UpdateClass = Literal["major", "minor", "patch"]
UpdateChange = Literal["adds", "removes"]
UpdateRefusal = Literal["signature", "compatible", "version", "damaged", "transfer"]


class PatientExport(Strict):
    """Data of patients handed out for statistics: a row for each under a pseudonym, and nothing that says who it is."""

    action: str = Field(description="Action with `rows` and `columns`")
    roles: tuple[str, ...] = Field(description="Roles that may have it, all of them")
    pseudonym: str = Field(description="Column that tells the rows apart; nobody can work it out from a patient")
    shows: dict[Literal["ward", "note"], str] = Field(
        min_length=1, description="`ward`, `note`: what is handed out as it is → column"
    )


class PatientClaim(ClaimBase):
    """Patient data: who may see and change it, what is kept of it, and where it must not turn up.

    The operations are `patient-list`, `patient-add` and `patient-remove` of the surface.
    """

    type: Literal["patients"] = "patients"
    surface: str = Field(description="Surface with the operations `patient-list`, `patient-add`, `patient-remove`")
    readers: tuple[str, ...] = Field(description="Roles that may read it, all of them")
    editors: tuple[str, ...] = Field(description="Roles that may change it, all of them")
    sample: dict[Literal["id", "name", "ward", "note"], str] = Field(
        description=(
            "`id`, `name`, `ward`, `note` of a patient; `{canary}` becomes letters and digits drawn for the testcase"
        )
    )
    longest: dict[Literal["id", "name", "ward", "note"], int] = Field(description="Characters kept of each")
    most: int = Field(ge=1, description="Patients")
    absent_from: tuple[Literal["equipment", "audit", "backup", "console", "storage"], ...] = Field(
        description="Where no patient data may be found in clear"
    )
    export: PatientExport | None = Field(default=None, description="What is handed out for statistics")


class BackupPart(Strict):
    """One part of a backup file. Its length is fixed, or a number in an earlier part."""

    name: str = Field(description="What checks call it")
    size: int | None = Field(default=None, ge=1, description="Bytes")
    size_in: str = Field(default="", description="Earlier part that holds its length, big-endian; instead of `size`")

    @model_validator(mode="after")
    def _one_size(self) -> BackupPart:
        if (self.size is None) == (not self.size_in):
            raise ValueError(f"part {self.name!r}: give either `size` or `size_in`")
        return self


class BackupClaim(ClaimBase):
    """A backup holds what is claimed, encrypted under a passphrase. The operation is `backup`."""

    type: Literal["backup"] = "backup"
    surface: str = Field(description="Surface with the operation `backup`")
    roles: tuple[str, ...] = Field(description="Roles that may make one, all of them")
    passphrase: str = Field(description="One that is accepted")
    refused_passphrases: dict[str, str] = Field(default={}, description="What is wrong → example")
    holds: tuple[Kept, ...] = Field(description="What it holds")
    lacks: tuple[BytesPattern, ...] = Field(
        default=(), description="Regular expressions of what must not stand in it in clear"
    )
    layout: tuple[BackupPart, ...] = Field(description="The file from its first byte to its last")
    header: str = Field(default="", description="Part that is a JSON object in clear")
    header_values: dict[Literal["family", "version", "serial"], str] = Field(
        default={}, description="`family`, `version`, `serial` → name of the value in the header"
    )
    version_parts: dict[str, int] = Field(default={}, description="Part → number that is the format's version")
    within: float = Field(gt=0, description="Seconds until it is made")

    @model_validator(mode="after")
    def _parts(self) -> BackupClaim:
        seen: set[str] = set()
        for part in self.layout:
            if part.name in seen:
                raise ValueError(f"layout: two parts are named {part.name!r}")
            if part.size_in and part.size_in not in seen:
                raise ValueError(f"layout: {part.name}: no earlier part {part.size_in!r}")
            seen.add(part.name)
        unknown = {self.header, *self.version_parts} - seen - {""}
        if unknown:
            raise ValueError(f"no part named {', '.join(sorted(unknown))}")
        return self


class RestoreClaim(ClaimBase):
    """What is restored is whole, authentic and of this family; a refused restore changes nothing.

    The operation is `restore`.
    """

    type: Literal["restore"] = "restore"
    surface: str = Field(description="Surface with the operation `restore`")
    roles: tuple[str, ...] = Field(description="Roles that may restore, all of them")
    backup: str = Field(description="Id of the claim about backups")
    refusals: dict[Literal["format", "family", "version", "damaged"], Pattern] = Field(
        description="`format`, `family`, `version`, `damaged` → regular expression of the refusal's reason"
    )
    other_unit: bool = Field(default=False, description="A backup of another unit of the family is accepted")
    ends_sessions: bool = Field(default=False, description="Every session is over after it")
    atomic: bool = Field(default=True, description="A power cut leaves the old state or the new one")
    records: dict[Literal["accepted", "refused"], dict[str, Pattern]] = Field(
        default={},
        description=(
            "`accepted`, `refused` → field of the record in the audit log → regular expression of its whole value"
        ),
    )
    within: float = Field(gt=0, description="Seconds")


class UpdateClaim(ClaimBase):
    """Only newer software of the maker, for this device, is installed; what fails to start is rolled back.

    The operations are `update-upload`, `update-url`, `update-status` and `reboot`. The bundles of the rig
    (`bundles:` of the rig file) say by name what must come of each.
    """

    type: Literal["update"] = "update"
    surface: str = Field(
        description="Surface with the operations `update-upload`, `update-url`, `update-status`, `reboot`"
    )
    roles: tuple[str, ...] = Field(description="Roles that may update, all of them")
    ways: tuple[Literal["upload", "url"], ...] = Field(description="How a bundle comes to the device")
    states: dict[Literal["idle", "receiving", "verifying", "writing", "ready", "refused", "trying", "failed"], str] = (
        Field(
            description=(
                "`idle`, `receiving`, `verifying`, `writing`, `ready`, `refused`, `trying`, `failed` → the "
                "device's word"
            )
        )
    )
    refusals: dict[UpdateRefusal, Pattern] = Field(
        description="`signature`, `compatible`, `version`, `damaged`, `transfer` → regular expression of the detail"
    )
    console: str = Field(default="", description="Link on which the states are shown")
    console_line: BytesPattern = Field(
        default="", description="Regular expression with the groups `state` and `detail`"
    )
    within: dict[Literal["receiving", "verifying", "writing", "restart", "trying", "rollback"], float] = Field(
        description="`receiving`, `verifying`, `writing`, `restart`, `trying`, `rollback` → seconds it may take"
    )
    stall: float | None = Field(default=None, gt=0, description="Seconds without data until a transfer is given up")
    newer_only: bool = Field(default=True, description="An older or the same version is refused")
    keeps: tuple[Kept, ...] = Field(description="What outlives an update")
    version_rule: Pattern = Field(
        default="",
        description=(
            "Regular expression of a version, with groups named as the classes: which part of it each class raises"
        ),
    )
    classes: dict[UpdateClass, tuple[UpdateChange, ...]] = Field(
        default={},
        description=(
            "`major`, `minor`, `patch` → what an update of this class may do to what the interfaces offer; an "
            "empty list: nothing"
        ),
    )

    def class_of(self, before: str, after: str) -> UpdateClass | None:
        """Return the class of the step between two versions: the first part that differs; None where none does."""
        parts = [re.fullmatch(self.version_rule, version) for version in (before, after)]
        for name in get_args(UpdateClass):
            texts = [match[name] if match and name in match.re.groupindex else None for match in parts]
            if None not in texts and texts[0] != texts[1]:
                return cast("UpdateClass", name)
        return None

    @model_validator(mode="after")
    def _classes_named(self) -> UpdateClaim:
        if missing := sorted(set(self.classes) - set(re.compile(self.version_rule).groupindex)):
            raise ValueError(f"`version_rule` has no group {', '.join(missing)}")
        return self

    @model_validator(mode="after")
    def _states_shown(self) -> UpdateClaim:
        if self.console_line and "state" not in re.compile(self.console_line.encode()).groupindex:
            raise ValueError("`console_line` has no group `state`")
        return self


class FirstUseClaim(ClaimBase):
    """Before it is set up the device lets nobody in; setting up needs the code on its label, once.

    The operation is `setup`; the code is that of the rig file's item.
    """

    type: Literal["first-use"] = "first-use"
    surface: str = Field(
        description="Surface with the operation `setup`; the code is the `setup_code` of the rig file's item"
    )
    account: str = Field(description="Account that setting up makes")
    role: str = Field(description="Its role")
    closed: tuple[str, ...] = Field(description="Surfaces that refuse every log-in before")
    console: str = Field(default="", description="Link that shows the banner")
    banner: BytesPattern = Field(default="", description="Regular expression that the console shows before")
    keys: tuple[str, ...] = Field(
        default=(),
        description=(
            "Links whose server key a unit makes itself: no two units share one, nor the serial number of its "
            "certificate"
        ),
    )
    wrong_codes: int = Field(ge=1, description="The wrong code that starts the delay")
    delay: float = Field(gt=0, description="Seconds, whether or not anybody tries meanwhile")
    tolerance: float = Field(ge=0, description="Seconds")


class EndOfLifeClaim(ClaimBase):
    """A factory reset erases all that was ever entered, and the unit's keys. The operation is `factory-reset`."""

    type: Literal["end-of-life"] = "end-of-life"
    surface: str = Field(description="Surface with the operation `factory-reset`")
    roles: tuple[str, ...] = Field(description="Roles that may do it, all of them")
    confirm: str = Field(description="What has to be said; `{serial}` is the unit's serial number")
    erases: tuple[Kept, ...] = Field(description="What is gone")
    keys: tuple[str, ...] = Field(default=(), description="Links whose server key is another one afterwards")
    within: float = Field(gt=0, description="Seconds until the device is in first use")
