"""What a well-formed message is: fields in order, some of which say how long the rest is.

One grammar serves every case source: a generator that knows fields, and mutators that only want good bytes.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Literal

__all__ = ["Field", "FieldKind", "Message", "Model"]

FieldKind = Literal["static", "u8", "u16", "bytes", "text", "length8", "length16"]

_WIDTHS = {"length8": 1, "length16": 2}


@dataclass(frozen=True, slots=True)
class Field:
    """One field. `value` is its good value (big-endian); `longest` bounds variable fields, in bytes.

    `static` is never changed. A `length8` or `length16` field counts the bytes of all fields behind it.
    """

    name: str
    kind: FieldKind
    value: bytes = b""
    longest: int = 512


@dataclass(frozen=True, slots=True)
class Message:
    """One message. `state` names what the receiver must be in for it: a diagnostic session, a prompt, an account."""

    name: str
    fields: tuple[Field, ...]
    state: str = ""

    def render(self) -> bytes:
        """Return the message with every field good."""
        out = b""
        for part in reversed(self.fields):
            if part.kind in _WIDTHS:
                width = _WIDTHS[part.kind]
                out = (len(out) % (1 << 8 * width)).to_bytes(width) + out
            else:
                out = part.value + out
        return out


@dataclass(frozen=True, slots=True)
class Model:
    """The messages a surface understands."""

    name: str
    messages: tuple[Message, ...] = field(default=())

    def message(self, name: str) -> Message:
        """Return a message by name; KeyError if there is none."""
        for message in self.messages:
            if message.name == name:
                return message
        raise KeyError(name)

    def to_json(self) -> str:
        """Return the model as text, for a case source in another process."""
        return json.dumps(asdict(self), default=lambda value: value.hex(), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Model:
        """Return the model that `to_json` wrote.

        Raises:
            ValueError: the text is no such model.
        """
        try:
            raw = json.loads(text)
            messages = tuple(
                Message(
                    name=message["name"],
                    state=message["state"],
                    fields=tuple(
                        Field(
                            name=part["name"],
                            kind=part["kind"],
                            value=bytes.fromhex(part["value"]),
                            longest=part["longest"],
                        )
                        for part in message["fields"]
                    ),
                )
                for message in raw["messages"]
            )
            return cls(name=raw["name"], messages=messages)
        except (KeyError, TypeError) as error:
            raise ValueError(f"no fuzz model: {error!r}") from error
