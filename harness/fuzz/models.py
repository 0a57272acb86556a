"""Fuzz models made from the device file: what the device claims to understand is what is bent."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from harness.fuzz.grammar import Field, Message, Model
from harness.rig.claims import UdsServicesClaim
from harness.rig.device_file import Account, Action, DialogueSurface, MessageSurface, ModbusSurface, UdsSurface
from harness.rig.templates import Scalar, filled

__all__ = ["LOG_IN", "NOBODY", "PASSWORD", "dialogue_model", "message_model", "modbus_model", "uds_model"]

LOG_IN, PASSWORD = "log-in prompt", "password prompt"
"""States of a dialogue besides the accounts, in which one is logged in."""

NOBODY = "nobody-here"
"""A user name that must not exist: wrong passwords for it lock no account."""

_UDS_LONGEST = 4094
"""An ISO-TP message holds at most 4095 bytes, of which one is the service."""

_LINE_LONGEST = 1024


def modbus_model(spec: ModbusSurface, functions: Sequence[int], *, tcp: bool) -> Model:
    """Return the declared function codes as ADUs: with the TCP header, or as unit and PDU without checksum."""
    read_only = next((r for r in spec.registers.values() if r.table == "input"), None)
    writable = next((r for r in spec.registers.values() if r.access == "read-write"), None)
    readable = next((r for r in spec.registers.values() if r.table == "holding"), read_only)
    messages = []
    for function in functions:
        match function:
            case 4 if read_only:
                body = _words(address=read_only.address, quantity=read_only.count)
            case 1 | 2 | 3 | 4 if readable:
                body = _words(address=readable.address, quantity=readable.count)
            case 5 | 6 if writable:
                body = _words(address=writable.address, value=(writable.range or (1, 1))[0])
            case 15 | 16 if writable:
                value = (writable.range or (1, 1))[0].to_bytes(2)
                body = [
                    *_words(address=writable.address, quantity=1),
                    Field("byte-count", "length8"),
                    Field("values", "bytes", value, longest=300),
                ]
            case _:
                body = [Field("data", "bytes", bytes(4), longest=300)]
        fields = [Field("unit", "u8", bytes([spec.unit])), Field("function", "u8", bytes([function])), *body]
        if tcp:
            head = [Field("transaction", "u16", b"\x12\x34"), Field("protocol", "u16", b"\x00\x00")]
            fields = [*head, Field("length", "length16"), *fields]
        messages.append(Message(f"function-{function:02d}", tuple(fields)))
    return Model(f"modbus-{'tcp' if tcp else 'rtu'}", tuple(messages))


def uds_model(spec: UdsSurface, claim: UdsServicesClaim) -> Model:
    """Return the declared services, each in every session it is declared for."""
    identifiers = [identifier.to_bytes(2) for identifier in claim.identifiers]
    key = spec.security.length if spec.security else 8
    level = spec.security.level if spec.security else 1
    bodies: dict[int, list[list[Field]]] = {
        0x10: [[Field("session", "u8", bytes([number]))] for number in sorted(set(spec.sessions.values()))[:1]],
        0x11: [[Field("reset-type", "u8", bytes([spec.reset or 1]))]],
        0x22: [
            [Field("identifier", "u16", identifiers[0] if identifiers else bytes(2))],
            [Field("identifiers", "bytes", b"".join(identifiers) or bytes(2), longest=_UDS_LONGEST)],
        ],
        0x27: [
            [Field("level", "u8", bytes([level])), Field("record", "bytes", b"", longest=_UDS_LONGEST - 1)],
            [Field("level", "static", bytes([level + 1])), Field("key", "bytes", bytes(key), longest=_UDS_LONGEST - 1)],
        ],
        0x3E: [[Field("sub-function", "u8", b"\x00"), Field("rest", "bytes", b"", longest=_UDS_LONGEST - 1)]],
    }
    messages = []
    for session, services in claim.services.items():
        for service in services:
            variants = bodies.get(service, [[Field("record", "bytes", bytes(3), longest=_UDS_LONGEST)]])
            for number, body in enumerate(variants):
                name = f"{session}-{service:02x}" + ("" if len(variants) == 1 else f"-{number + 1}")
                fields = (Field("service", "static", bytes([service])), *body)
                messages.append(Message(name, fields, state=session))
    return Model("uds", tuple(messages))


def dialogue_model(spec: DialogueSurface, accounts: Mapping[str, Account]) -> Model:
    """Return the lines of a dialogue: user name, password, and every declared action for every account."""
    first = next(iter(accounts), NOBODY)
    messages = [
        Message("user", (Field("user", "text", first.encode(), longest=_LINE_LONGEST),), state=LOG_IN),
        Message("password", (Field("password", "text", b"not-the-password", longest=_LINE_LONGEST),), state=PASSWORD),
    ]
    for account in accounts:
        lines: dict[str, Action] = {}
        for action in spec.actions.values():
            if action.plain:
                lines.setdefault(action.send.split("{")[0].strip(), action)
        for line in lines.values():
            whole = filled(line.send, line.harmless)
            word, _, rest = whole.partition(" ")
            fields = [Field("word", "text", word.encode(), longest=_LINE_LONGEST)]
            if rest:
                fields += [Field("space", "static", b" "), Field("rest", "text", rest.encode(), longest=_LINE_LONGEST)]
            messages.append(Message(f"{account}-{'-'.join(whole.split()[:2])}", tuple(fields), state=account))
    return Model("dialogue", tuple(messages))


def message_model(spec: MessageSurface, accounts: Mapping[str, Account]) -> Model:
    """Return the texts of messages: the log-in, and every declared action before it and for every account.

    A log-in by PIN alone is left out: each wrong one would count towards a lock for everybody.
    """
    messages = []
    if spec.names_users:
        values = {"account": NOBODY, "password": "not-the-password"}
        messages.append(Message("log-in", _text(spec.login.send, values), state=LOG_IN))
    for state in (LOG_IN, *accounts):
        for name, action in spec.actions.items():
            if action.ready:
                given = {"account": state, "serial": "0", **action.args}
                messages.append(Message(f"{state}-{name}", _text(action.send, given), state=state))
    return Model("messages", tuple(messages))


def _text(template: str, values: Mapping[str, Scalar]) -> tuple[Field, ...]:
    """Return a template as fields: what stands in it and what is filled in, each of them bent."""
    fields = []
    for number, part in enumerate(re.split(r"\{(\w+)\}", template)):
        value = str(values.get(part, "")) if number % 2 else part
        if value:
            name = part if number % 2 else f"text-{number // 2 + 1}"
            fields.append(Field(name, "text", value.encode(), longest=_LINE_LONGEST))
    return tuple(fields)


def _words(**values: int) -> list[Field]:
    return [Field(name, "u16", value.to_bytes(2)) for name, value in values.items()]
