"""The device file: what a device claims and how it is operated, whatever its make."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Literal, TypeVar

from pydantic import Field, field_validator, model_validator

from harness.rig.access import Account, access_problems
from harness.rig.can_database import EXTENDED_FLAG, CanId, DbcFile, StandardId
from harness.rig.claim_base import BytesPattern
from harness.rig.claims import (
    AuditClaim,
    Claim,
    ClaimBase,
    FirstUseClaim,
    FramingClaim,
    PermissionClaim,
    RestoreClaim,
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
ValueType = Literal["u8", "u16", "u32", "ascii", "dotted", "hex"]


class Action(ActionBase):
    """One command of a dialogue, and the file that goes with it. `args` are used by testcases, and do no harm."""

    send: str
    args: tuple[str, ...] | dict[str, Scalar] = Field(
        default=(), description="Arguments: a list is filled into {0}, {1} …, a mapping into {NAME}"
    )
    upload: Upload | None = Field(default=None, description="File to the device, given by the testcase")
    download: Download | None = Field(default=None, description="File from the device: the answer")
    within: float | None = Field(default=None, gt=0, description="Seconds the device may take; `answer_within`")

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

    user_prompt: BytesPattern
    password_prompt: BytesPattern
    accepted_when: BytesPattern
    refused_when: BytesPattern
    locked_when: BytesPattern
    logged_off_when: BytesPattern
    log_out: str
    wake: str = "\r"


class DialogueSurface(LogInSurface):
    """A prompt dialogue on a byte stream (serial console, SSH shell)."""

    type: Literal["dialogue"] = "dialogue"
    link: str
    accounts: tuple[str, ...] = Field(description="Accounts that may log in here")
    closes: bool = Field(default=False, description="The connection closes after log-off")
    line_end: str = "\r"
    login: DialogueLogin
    prompt: BytesPattern
    accepted_when: BytesPattern
    refused_when: BytesPattern
    line: BytesPattern = Field(
        default=r"^(?P<name>\w+): (?P<value>[^\r\n]*)\r?$", description="A `name: value` line of an answer"
    )
    actions: dict[str, Action]
    unknown_command: str = Field(default="xyzzy", description="A command the device must refuse")
    fields: dict[str, FieldCodec]

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


class Register(Strict):
    """One entry of a Modbus register map."""

    table: Literal["input", "holding"]
    address: int = Field(ge=0, le=65535)
    count: int = Field(default=1, ge=1, le=125)
    type: ValueType = "u16"
    scale: float | None = None
    access: Literal["read", "read-write", "protected"] = "read"
    range: tuple[int, int] | None = Field(default=None, description="Lowest and highest value that may be written")


class ModbusSurface(Strict):
    """A Modbus server, over TCP or RTU."""

    type: Literal["modbus"] = "modbus"
    link: str
    framing: Literal["tcp", "rtu"] = "tcp"
    unit: int = Field(default=1, ge=0, le=255)
    registers: dict[str, Register]
    fields: dict[str, str] = Field(description="Field of the device → register name")


class Identifier(Strict):
    """One UDS data identifier."""

    id: int = Field(ge=0, le=0xFFFF)
    type: ValueType
    scale: float | None = None


class UdsSecurity(Strict):
    """UDS security access: the key is the first `length` bytes of AES-CMAC of the seed."""

    level: int = 1
    algorithm: Literal["aes-cmac"] = "aes-cmac"
    key: str = Field(pattern=r"^[0-9a-f]{32}$")
    length: int = Field(ge=1, le=16)
    session: str = "extended"


class UdsSurface(Strict):
    """A UDS server over ISO-TP with normal addressing, both identifiers of 11 or both of 29 bits."""

    type: Literal["uds"] = "uds"
    link: str
    request_id: CanId
    response_id: CanId
    sessions: dict[str, int]
    session_timeout: float = Field(default=5.0, description="S3: seconds without request until the default session")
    identifiers: dict[str, Identifier]
    unknown_identifier: int = Field(description="An identifier the device does not have")
    security: UdsSecurity | None = None
    reset: int | None = Field(default=None, description="Sub-function of ECU reset that restarts the application")

    @model_validator(mode="after")
    def _one_width(self) -> UdsSurface:
        if (self.request_id ^ self.response_id) & EXTENDED_FLAG:
            raise ValueError("`request_id` and `response_id` are of different width: 11 and 29 bits")
        return self


class BusEffect(Strict):
    """A command whose effect can be read back on another surface, and undone."""

    opcode: str
    argument: int = Field(description="An argument that changes the baseline")
    other: int = Field(description="Another one")
    surface: str = Field(description="Surface on which the effect is read back")
    field: str
    scale: float = Field(default=1.0, description="What the argument is multiplied with to give the field")


class BusCommandSurface(Strict):
    """Authenticated 8-byte commands on CAN: opcode u8, argument u16, counter u16, 3 bytes of AES-CMAC.

    The authenticator covers session (from its own frame) ‖ identifier u16 ‖ opcode ‖ argument ‖ counter.
    """

    type: Literal["bus-commands"] = "bus-commands"
    link: str
    command_id: StandardId
    answer_id: StandardId
    session_id: StandardId
    key: str = Field(pattern=r"^[0-9a-f]{32}$")
    opcodes: dict[str, int]
    accepted: int
    refusals: dict[int, str] = Field(description="Result code → reason")
    clock: str = Field(description="Opcode name that answers the uptime")
    clock_scale: float = 0.001
    harmless: BusEffect
    ranges: dict[str, tuple[int, int]] = Field(default={}, description="Opcode name → lowest and highest argument")
    known_ids: tuple[StandardId, ...] = Field(description="Every identifier the device sends or listens to")
    listens: tuple[StandardId, ...] = Field(description="Those of them it listens to")


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

    surface: str
    field: str


class DeviceFile(Strict):
    """What a device claims and how it is operated."""

    base: str | None = Field(
        default=None, description="Device file this one is a variant of, relative to it: state only what differs"
    )
    device: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    manufacturer: str
    model: str
    kind: str
    version: str = Field(description="Full software version expected")
    identity: str = Field(description="Surface that is read for the identity")
    # Before everything that may name a message: fields are validated in their order.
    dbc: tuple[DbcFile, ...] = Field(default=(), description="CAN databases, relative to the device file")
    accounts: dict[str, Account] = Field(default={})
    links: tuple[str, ...] = Field(description="Links a rig of this device may wire")
    surfaces: dict[str, SurfaceSpec]
    death_strings: tuple[BytesPattern, ...] = Field(default=(), description="Regular expressions on the console")
    console: str | None = Field(default=None, description="Link whose death strings are watched")
    fingerprint: tuple[FingerprintItem, ...] = ()
    claims: dict[str, Claim]
    withdrawn: dict[str, str] = Field(default={}, description="Baseline claim → reason why it does not hold")
    not_applicable: dict[TestcaseIds, str] = Field(
        default={}, description="Testcase id, or the beginning of several and `-*` (`CAN-*`) → reason"
    )
    clock_tolerance: float = Field(default=0.25, description="Seconds the uptime may be off between two readings")
    starts_within: float = Field(
        default=120.0, gt=0, description="Seconds from power-on, or from a restart of its own, until it lets people in"
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
        for claim_id, claim in self.claims.items():
            named = [*getattr(claim, "surfaces", ()), *([claim.surface] if hasattr(claim, "surface") else [])]
            named += claim.closed if isinstance(claim, FirstUseClaim) else ()
            if isinstance(claim, RestoreClaim) and claim.backup not in self.claims:
                problems.append(f"claims.{claim_id}.backup: no claim named {claim.backup!r}")
            problems += [
                f"claims.{claim_id}: no surface named {surface!r}" for surface in named if surface not in self.surfaces
            ]
            if isinstance(claim, AuditClaim):
                problems += [
                    f"claims.{claim_id}.records.{kind}.on: no surface named {record.on!r}"
                    for kind, record in claim.records.items()
                    if record.on not in self.surfaces
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
