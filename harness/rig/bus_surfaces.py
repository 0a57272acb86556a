"""Surfaces of buses on which nobody logs in: Modbus maps, UDS, authenticated commands on CAN."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from harness.rig.can_database import EXTENDED_FLAG, CanId, StandardId
from harness.rig.claim_base import Strict

__all__ = [
    "BusCommandSurface",
    "BusEffect",
    "Identifier",
    "ModbusSurface",
    "Register",
    "UdsSecurity",
    "UdsSurface",
    "ValueType",
]

ValueType = Literal["u8", "u16", "u32", "ascii", "dotted", "hex"]


class Register(Strict):
    """One entry of a Modbus register map."""

    table: Literal["input", "holding"] = Field(description="Input registers or holding registers")
    address: int = Field(ge=0, le=65535, description="First register")
    count: int = Field(default=1, ge=1, le=125, description="How many registers")
    type: ValueType = Field(default="u16", description="How they are decoded; registers are big-endian")
    scale: float | None = Field(default=None, description="Makes a number of it and multiplies")
    access: Literal["read", "read-write", "protected"] = Field(
        default="read", description="`protected`: must refuse every write"
    )
    range: tuple[int, int] | None = Field(default=None, description="Lowest and highest value that may be written")


class ModbusSurface(Strict):
    """A Modbus server, over TCP or RTU."""

    type: Literal["modbus"] = "modbus"
    link: str = Field(description="A `modbus-tcp` or `modbus-rtu` link")
    framing: Literal["tcp", "rtu"] = Field(default="tcp", description="As the link")
    unit: int = Field(default=1, ge=0, le=255, description="Unit number")
    registers: dict[str, Register] = Field(description="By name: the whole map. What is not here must not be readable")
    fields: dict[str, str] = Field(description="Field of the device → register name")


class Identifier(Strict):
    """One UDS data identifier."""

    id: int = Field(ge=0, le=0xFFFF, description="Data identifier")
    type: ValueType = Field(description="How it is decoded")
    scale: float | None = Field(default=None, description="Makes a number of it and multiplies")


class UdsSecurity(Strict):
    """UDS security access: the key is the first `length` bytes of AES-CMAC of the seed."""

    level: int = Field(default=1, description="Sub-function that asks for a seed")
    algorithm: Literal["aes-cmac"] = Field(default="aes-cmac", description="The only one there is yet")
    key: str = Field(
        pattern=r"^[0-9a-f]{32}$", description="32 hexadecimal digits, small letters; masked in what is shown"
    )
    length: int = Field(ge=1, le=16, description="Bytes of the answer to a seed")
    session: str = Field(default="extended", description="Session in which it is offered")


class UdsSurface(Strict):
    """A UDS server over ISO-TP with normal addressing, both identifiers of 11 or both of 29 bits."""

    type: Literal["uds"] = "uds"
    link: str = Field(description="A `can` link")
    request_id: CanId = Field(description="CAN identifier of requests")
    response_id: CanId = Field(description="CAN identifier of answers")
    sessions: dict[str, int] = Field(description="Name → number")
    session_timeout: float = Field(default=5.0, description="Seconds without request until the default session (S3)")
    identifiers: dict[str, Identifier] = Field(description="By the name of the device's value")
    unknown_identifier: int = Field(description="An identifier the device does not have; part of the proof of life")
    security: UdsSecurity | None = Field(default=None, description="The security access, where there is one")
    reset: int | None = Field(default=None, description="Sub-function of ECU reset that restarts the application")

    @model_validator(mode="after")
    def _one_width(self) -> UdsSurface:
        if (self.request_id ^ self.response_id) & EXTENDED_FLAG:
            raise ValueError("`request_id` and `response_id` are of different width: 11 and 29 bits")
        return self


class BusEffect(Strict):
    """A command whose effect can be read back on another surface, and undone."""

    opcode: str = Field(description="Opcode name")
    argument: int = Field(description="An argument that changes the baseline")
    other: int = Field(description="Another one")
    surface: str = Field(description="Surface on which the effect is read back")
    field: str = Field(description="Field on that surface")
    scale: float = Field(default=1.0, description="What the argument is multiplied with to give the field")


class BusCommandSurface(Strict):
    """Authenticated 8-byte commands on CAN: opcode u8, argument u16, counter u16, 3 bytes of AES-CMAC.

    The authenticator covers session (from its own frame) ‖ identifier u16 ‖ opcode ‖ argument ‖ counter.
    """

    type: Literal["bus-commands"] = "bus-commands"
    link: str = Field(description="A `can` link")
    command_id: StandardId = Field(description="Identifier of commands")
    answer_id: StandardId = Field(description="Identifier of answers")
    session_id: StandardId = Field(description="Identifier of the frame with the session number")
    key: str = Field(
        pattern=r"^[0-9a-f]{32}$", description="32 hexadecimal digits, small letters; masked in what is shown"
    )
    opcodes: dict[str, int] = Field(description="Name → number")
    accepted: int = Field(description="Result code of an acceptance")
    refusals: dict[int, str] = Field(description="Result code → reason")
    clock: str = Field(description="Name of the opcode that answers the uptime")
    clock_scale: float = Field(default=0.001, description="Makes seconds of it")
    harmless: BusEffect = Field(description="A command that harms nobody, and where its effect is seen")
    ranges: dict[str, tuple[int, int]] = Field(default={}, description="Opcode name → lowest and highest argument")
    known_ids: tuple[StandardId, ...] = Field(description="Every identifier the device sends or listens to")
    listens: tuple[StandardId, ...] = Field(description="Those of them it listens to")
