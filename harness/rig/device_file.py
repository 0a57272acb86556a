"""The device file: what a device claims and how it is operated, whatever its make."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Literal, TypeVar

from pydantic import Field, field_validator, model_validator

from harness.rig.access import Account, access_problems
from harness.rig.bus_surfaces import BusCommandSurface, BusEffect, ModbusSurface, Register, UdsSurface
from harness.rig.can_database import DbcFile
from harness.rig.claim_base import BytesPattern
from harness.rig.claim_references import reference_problems
from harness.rig.claims import (
    Claim,
    ClaimBase,
    FirstUseClaim,
    FramingClaim,
    PermissionClaim,
    Source,
    Strict,
)
from harness.rig.custom_surface import CustomAction, CustomLogInSurface, CustomSurface
from harness.rig.file_transfer import Download, Upload
from harness.rig.http_surface import HttpSurface
from harness.rig.log_in_surface import ActionBase, FieldCodec, LogInSurface
from harness.rig.message_surface import MessageSurface
from harness.rig.templates import Scalar, check_whole, holes

__all__ = [
    "Account",
    "Action",
    "ActionBase",
    "BusCommandSurface",
    "BusEffect",
    "CustomAction",
    "CustomLogInSurface",
    "CustomSurface",
    "DeviceFile",
    "DialogueSurface",
    "FieldCodec",
    "HttpSurface",
    "LogInSurface",
    "MessageSurface",
    "ModbusSurface",
    "Register",
    "SurfaceSpec",
    "UdsSurface",
]

C = TypeVar("C", bound=ClaimBase)

TestcaseIds = Annotated[str, Field(pattern=r"^[A-Z0-9]+(-[A-Z0-9]+)*(-\*)?$")]


class Action(ActionBase):
    """One command of a dialogue, and the file that goes with it. `args` are used by testcases, and do no harm."""

    send: str = Field(description="Command; `{0}`, `{1}` … or `{NAME}` are filled from the arguments")
    args: tuple[str, ...] | dict[str, Scalar] = Field(
        default=(),
        description=(
            "Arguments a testcase may use without harm: of a list by number, of a mapping by name. An "
            "operation takes its arguments by name"
        ),
    )
    upload: Upload | None = Field(default=None, description="A file to the device goes with the command")
    download: Download | None = Field(default=None, description="A file from the device is the answer")
    within: float | None = Field(
        default=None,
        gt=0,
        description="Seconds the device may pause until its prompt, to check a file for instance; else `answer_within`",
    )

    @property
    def transfer(self) -> Upload | Download | None:
        """The file that goes with the command."""
        return self.upload or self.download

    @property
    def plain(self) -> bool:
        """Whether it is a line and its answer: a command that begins a transfer on the line is not."""
        return self.transfer is None or not self.transfer.on_line

    @property
    def harmless(self) -> Mapping[str, Scalar]:
        """`args` by name; those of a list are called by their number."""
        return {str(n): text for n, text in enumerate(self.args)} if isinstance(self.args, tuple) else self.args

    def named(self) -> set[str]:
        """Return the names the command and the file's path need."""
        return holes(self.send) | (self.transfer.named() if self.transfer else set())

    @model_validator(mode="after")
    def _one_file(self) -> Action:
        if self.upload and self.download:
            raise ValueError("give either `upload` or `download`")
        return self


class DialogueLogin(Strict):
    """How a log-in dialogue goes. All values are regular expressions but `log_out`."""

    user_prompt: BytesPattern = Field(description="Prompt for the name")
    password_prompt: BytesPattern = Field(description="Prompt for the password")
    accepted_when: BytesPattern = Field(description="The log-in was accepted")
    refused_when: BytesPattern = Field(description="The log-in was refused")
    locked_when: BytesPattern = Field(description="The account is locked")
    logged_off_when: BytesPattern = Field(description="The device logged the session off")
    log_out: str = Field(description="Command that ends a session; no regular expression")
    wake: str = Field(default="\r", description="Sent to get the first prompt; no regular expression")


class DialogueSurface(LogInSurface):
    """A prompt dialogue on a byte stream (serial console, SSH shell)."""

    type: Literal["dialogue"] = "dialogue"
    link: str = Field(description="A `serial` or `ssh` link")
    accounts: tuple[str, ...] = Field(description="Accounts that may log in here")
    closes: bool = Field(default=False, description="The connection closes after log-off, as on SSH")
    line_end: str = Field(default="\r", description="Sent after each line")
    login: DialogueLogin = Field(description="How somebody logs in, out, and is refused")
    prompt: BytesPattern = Field(description="Regular expression of the prompt inside a session")
    accepted_when: BytesPattern = Field(description="Regular expression of an acceptance")
    refused_when: BytesPattern = Field(description="Regular expression of a refusal; a group `reason` is shown")
    line: BytesPattern = Field(
        default=r"^(?P<name>\w+): (?P<value>[^\r\n]*)\r?$",
        description="Regular expression of a line of an answer, groups `name` and `value`",
    )
    actions: dict[str, Action] = Field(description="By name")
    unknown_command: str = Field(
        default="xyzzy", description="A command the device must refuse; part of the proof of life"
    )
    fields: dict[str, FieldCodec] = Field(
        description=(
            "By the name of the device's value. `model`, `serial`, `version` on the identity surface; `uptime` "
            "on every surface"
        )
    )

    @field_validator("actions")
    @classmethod
    def _whole_operations(cls, actions: dict[str, Action]) -> dict[str, Action]:
        for name, action in actions.items():
            if isinstance(action.args, dict) or action.transfer:
                # Not every protocol tells the device the name of an update.
                check_whole(name, action.named() | ({"name"} if action.upload else set()))
        return actions

    @model_validator(mode="after")
    def _together(self) -> DialogueSurface:
        # As they are put together for a search: flags or a name of a group may be in the way only then.
        prompts = "|".join((self.login.user_prompt, self.login.password_prompt, self.prompt))
        for what, pattern in {"the prompts, joined by |,": prompts, "`line` after (?m)": f"(?m){self.line}"}.items():
            try:
                re.compile(pattern.encode())
            except re.error as error:
                raise ValueError(f"{what} are no regular expression: {error}") from None
        return self


SurfaceSpec = Annotated[
    DialogueSurface
    | HttpSurface
    | MessageSurface
    | ModbusSurface
    | UdsSurface
    | BusCommandSurface
    | CustomSurface
    | CustomLogInSurface,
    Field(discriminator="type"),
]


class FingerprintItem(Strict):
    """One value of the baseline, read before and after testcases that claim no effect."""

    surface: str = Field(description="Surface")
    field: str = Field(description="Field read on it")


class DeviceFile(Strict):
    """What a device claims and how it is operated."""

    base: str | None = Field(default=None, description="Device file this one is a variant of, relative to it")
    device: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$", description="Name: small letters, digits and dashes")
    manufacturer: str = Field(description="For the record")
    model: str = Field(description="Model the device must show")
    kind: str = Field(description="What it is, in words")
    version: str = Field(description="Full software version the device must show")
    identity: str = Field(
        description="Surface on which model, serial number and version are read: before each testcase"
    )
    # Before everything that may name a message: fields are validated in their order.
    dbc: tuple[DbcFile, ...] = Field(
        default=(), description="CAN databases, relative to the device file or to the base that names them"
    )
    accounts: dict[str, Account] = Field(default={}, description="By the account's name")
    links: tuple[str, ...] = Field(description="Names of the links a rig may wire")
    surfaces: dict[str, SurfaceSpec] = Field(description="By a name of your choice")
    death_strings: tuple[BytesPattern, ...] = Field(
        default=(),
        description="Regular expressions; one on the console during a testcase is a FAIL (claim BASE-NO-CRASH)",
    )
    console: str | None = Field(default=None, description="Link on which they are watched")
    fingerprint: tuple[FingerprintItem, ...] = Field(default=(), description="The baseline's values")
    claims: dict[str, Claim] = Field(description="By id: capitals, digits, dashes")
    withdrawn: dict[str, str] = Field(
        default={}, description="Baseline claim → reason why it does not hold for this device"
    )
    not_applicable: dict[TestcaseIds, str] = Field(
        default={},
        description=(
            "Testcase id, or the beginning of several and `-*` (`CAN-*`) → reason; only where the device file "
            "declares nothing the testcase could use"
        ),
    )
    clock_tolerance: float = Field(
        default=0.25, description="Seconds by which `uptime` may disagree with the bench's clock between two readings"
    )
    starts_within: float = Field(
        default=120.0,
        gt=0,
        description=(
            "Seconds from power-on, or from a restart of its own, until it lets people in; testcases that take "
            "the power wait so long"
        ),
    )

    @model_validator(mode="after")
    def _references(self) -> DeviceFile:
        problems: list[str] = []
        for name, spec in self.surfaces.items():
            if spec.link not in self.links:
                problems.append(f"surfaces.{name}.link: no link named {spec.link!r}; links are {list(self.links)}")
            if isinstance(spec, DialogueSurface):
                problems += [
                    f"surfaces.{name}.actions.{action}: no link named {what.transfer.link!r}"
                    for action, what in spec.actions.items()
                    if what.transfer and what.transfer.link and what.transfer.link not in self.links
                ]
            if isinstance(spec, LogInSurface):
                problems += [
                    f"surfaces.{name}.actions.{action}.changes: no field named {what.changes!r}"
                    for action, what in spec.actions.items()
                    if what.changes and what.changes not in spec.fields
                ]
                problems += [
                    f"surfaces.{name}.fields.{field}.action: no action named {codec.action!r}"
                    for field, codec in spec.fields.items()
                    if codec.action not in spec.actions
                ]
        problems += access_problems(self.accounts, self.surfaces, self.claims)
        problems += reference_problems(self.surfaces, self.claims)
        for claim_id, claim in self.claims.items():
            named = [*getattr(claim, "surfaces", ()), *([claim.surface] if hasattr(claim, "surface") else [])]
            named += claim.closed if isinstance(claim, FirstUseClaim) else ()
            problems += [
                f"claims.{claim_id}: no surface named {surface!r}" for surface in named if surface not in self.surfaces
            ]
            if isinstance(claim, FramingClaim):
                problems += [
                    f"claims.{claim_id}: {problem}"
                    for surface in claim.surfaces
                    if surface in self.surfaces
                    for problem in _unframed(claim, surface, self.surfaces[surface])
                ]
        if self.identity not in self.surfaces:
            problems.append(f"identity: no surface named {self.identity!r}")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def claims_of(self, kind: type[C], *, surface: str | None = None) -> dict[str, C]:
        """Return the claims of one type, by id; only those about `surface` when it is given."""
        found: dict[str, C] = {key: claim for key, claim in self.claims.items() if isinstance(claim, kind)}
        if surface is None:
            return found
        return {
            claim_id: claim
            for claim_id, claim in found.items()
            if surface in getattr(claim, "surfaces", ()) or surface == getattr(claim, "surface", None)
        }

    def why_not(self, testcase: str) -> tuple[str, str]:
        """Return the longest key in `not_applicable` that fits a testcase, and its reason; both empty if none does."""
        fitting = [key for key in self.not_applicable if fnmatchcase(testcase, key)]
        key = max(fitting, key=len, default="")
        return key, self.not_applicable.get(key, "")

    def who_may(self, surface: str, action: str) -> list[str] | None:
        """Return the accounts of a surface whose role may do `action` there; None where no claim is about that."""
        spec = self.surfaces[surface]
        claims = self.claims_of(PermissionClaim, surface=surface).values()
        if not claims or not isinstance(spec, LogInSurface):
            return None
        roles = {role for claim in claims for role, actions in claim.allowed.items() if action in actions}
        return [account for account in spec.accounts if self.accounts[account].role in roles]

    def secrets(self) -> list[str]:
        """Return every credential in the file, for masking."""
        found = [account.password for account in self.accounts.values() if account.password]
        for spec in self.surfaces.values():
            if isinstance(spec, BusCommandSurface):
                found.append(spec.key)
            if isinstance(spec, UdsSurface) and spec.security:
                found.append(spec.security.key)
        return found


def _unframed(claim: FramingClaim, name: str, spec: SurfaceSpec) -> list[str]:
    """Return what a surface lacks for a claim about its framing."""
    if not isinstance(spec, MessageSurface):
        return [f"surface {name!r} is of type {spec.type}, not messages"]
    problems = []
    if claim.account not in spec.accounts:
        problems.append(f"account {claim.account!r} does not log in on {name}")
    action = spec.actions.get(claim.action)
    if action is None or not action.ready or not action.changes:
        problems.append(f"action {claim.action!r} of {name} must be there, with its `args` and `changes`")
    if spec.framing.checksum is None and "checksum" in (*claim.refused, *claim.ignored):
        problems.append(f"surface {name!r} declares no checksum")
    return problems


#: Used where a claim of the baseline set needs a source.
BASELINE_SOURCE = Source(document="Proofrig baseline claims", revision="1", section="-")
