"""The surface of a device file for a vendor's own protocol: framed requests and answers on a byte stream.

Delimiters are written as text; each character is one byte (`"\\x02"` is STX). Patterns are regular expressions of the
whole text of a message, without delimiters and checksum. Templates: `{NAME}` in a message is filled from the arguments
of an action, and from `{account}` and `{serial}`; in the log-in from `{account}` and `{password}`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from harness.rig.claim_base import Pattern, Strict
from harness.rig.log_in_surface import ActionBase, FieldCodec, LogInSurface
from harness.rig.templates import Scalar, check_whole, holes

__all__ = ["Algorithm", "Checksum", "Framing", "MessageAction", "MessageLogin", "MessageSurface"]

GIVEN = frozenset({"account", "serial"})
"""Names a template may use without an argument: who is logged in, and the unit's serial number."""

Algorithm = Literal["xor8", "sum8", "lrc8", "crc16-modbus", "crc16-ccitt", "crc16-xmodem", "crc32"]


def _octets(text: str) -> str:
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        raise ValueError("each character is one byte: write \\x00 to \\xff") from None
    return text


Octets = Annotated[str, AfterValidator(_octets)]
"""Bytes, each written as the character with its number."""


class Checksum(Strict):
    """The checksum of a message, behind its text."""

    algorithm: Algorithm = Field(
        description="`lrc8`: two's complement of the sum. `crc16-ccitt` begins with FFFF, `crc16-xmodem` with 0"
    )
    encoding: Literal["hex-upper", "hex-lower", "binary"] = Field(
        default="hex-upper", description="Digits, or the bytes themselves"
    )
    order: Literal["big", "little"] = Field(default="big", description="Which of its bytes comes first")
    separator: Octets = Field(default="", description="Between text and checksum: `*`, ETX …")
    covers: tuple[Literal["start", "text", "separator"], ...] = Field(
        default=("text",), description="What it is worked out over"
    )

    @field_validator("covers")
    @classmethod
    def _covers_the_text(cls, covers: tuple[str, ...]) -> tuple[str, ...]:
        if "text" not in covers:
            raise ValueError("a checksum covers at least the `text`")
        return covers


class Framing(Strict):
    """How a message stands on the line: start, text, separator and checksum, end."""

    start: Octets = Field(
        default="", description="Before the text; what comes before it is noise. Without it, empty lines are skipped"
    )
    prefix: Octets = Field(
        default="", description="Begins the text of every request, before what an action sends: a number, an address"
    )
    answer_start: tuple[Octets, ...] = Field(
        default=(), description="What messages of the device begin with, each of them; `start` where none is given"
    )
    start_begins_anew: bool = Field(
        default=True, description="A `start` inside a message begins another one; false where it is a character as any"
    )
    end: Octets = Field(default="", description="After everything")
    longest: int = Field(default=1024, ge=1, le=65536, description="Bytes of a whole message")
    charset: Literal["ascii", "latin-1", "utf-8"] = Field(
        default="ascii", description="Of the text. With `latin-1` the text may be any bytes"
    )
    checksum: Checksum | None = Field(default=None, description="What stands behind the text to check it by")

    @model_validator(mode="after")
    def _ends_somewhere(self) -> Framing:
        if not self.end and not (self.checksum and self.checksum.separator):
            raise ValueError("nothing says where a message ends: give `end`, or a `separator` before the checksum")
        if "" in self.answer_start:
            raise ValueError("an empty `answer_start` says nothing: leave it out")
        if self.answer_start and self.checksum and "start" in self.checksum.covers:
            raise ValueError("a checksum that covers `start` needs messages that all begin with it: no `answer_start`")
        return self


class MessageAction(ActionBase):
    """One request. `args` gives arguments a testcase may use without harm, by name."""

    send: str = Field(description="Text of the message")
    args: dict[str, Scalar] = Field(default={}, description="Arguments a testcase may use without harm, in order")
    accepted_when: Pattern = Field(
        default="", description="Instead of the surface's; each named group is a value of the answer"
    )
    within: float | None = Field(default=None, gt=0, description="Seconds the device may take; else `answer_within`")

    def named(self) -> set[str]:
        """Return the names the message needs, but for the given ones."""
        return holes(self.send) - GIVEN

    @property
    def harmless(self) -> Mapping[str, Scalar]:
        """`args`."""
        return self.args


class MessageLogin(Strict):
    """How to log in, by name and password or by a PIN alone, and how a session ends."""

    send: str = Field(description="Message with `{password}`, and with `{account}` where there are names")
    accepted_when: Pattern = Field(description="The log-in was accepted")
    refused_when: Pattern = Field(description="The log-in was refused")
    locked_when: Pattern = Field(
        default="", description="The account is locked; empty where that cannot be told from another refusal"
    )
    full_when: Pattern = Field(default="", description="The account has too many sessions")
    logged_off_when: Pattern = Field(
        default="", description="Message by which the device says by itself that it logged the session off"
    )
    log_out: str = Field(description="Message that ends a session")

    @field_validator("send")
    @classmethod
    def _has_a_secret(cls, send: str) -> str:
        if "password" not in holes(send) or holes(send) - {"account", "password"}:
            raise ValueError("write {password} where it goes, and {account} if names are sent; nothing else")
        return send


class MessageSurface(LogInSurface):
    """A vendor's own protocol of framed requests and answers, over a serial line or TCP."""

    type: Literal["messages"] = "messages"
    link: str = Field(description="A `serial` or `tcp` link")
    accounts: tuple[str, ...] = Field(description="Accounts that may log in here")
    framing: Framing = Field(description="How a message begins, ends, and is checked")
    login: MessageLogin = Field(description="How somebody logs in, out, and is refused")
    accepted_when: Pattern = Field(description="Regular expression of an acceptance")
    refused_when: Pattern = Field(description="Regular expression of a refusal; a group `reason` is shown")
    denied_when: Pattern = Field(
        default="", description="Which refusals are for the role; empty where it cannot be told"
    )
    over_when: Pattern = Field(
        default="", description="Which refusals are because nobody is logged in; empty where it cannot be told"
    )
    unasked: Pattern = Field(default="", description="Messages that the device sends by itself: they are no answers")
    part: Pattern = Field(
        default="", description="Messages of an answer before its last one; each named group is a value of the answer"
    )
    values: Pattern = Field(
        default="", description="Found again and again in an accepted answer, with the groups `name` and `value`"
    )
    actions: dict[str, MessageAction] = Field(description="By name")
    unknown_message: str = Field(
        default="XYZZY", description="A message the device must refuse; part of the proof of life"
    )
    fields: dict[str, FieldCodec] = Field(
        description=(
            "By the name of the device's value. `model`, `serial`, `version` on the identity surface; `uptime` "
            "on every surface"
        )
    )

    @property
    def names_users(self) -> bool:
        """Whether a log-in says who it is; a PIN alone does not."""
        return "account" in holes(self.login.send)

    @field_validator("values")
    @classmethod
    def _name_and_value(cls, values: str) -> str:
        if values and not {"name", "value"} <= set(re.compile(values).groupindex):
            raise ValueError("needs the groups `name` and `value`")
        return values

    @field_validator("actions")
    @classmethod
    def _whole_operations(cls, actions: dict[str, MessageAction]) -> dict[str, MessageAction]:
        for name, action in actions.items():
            check_whole(name, action.named())
        return actions
