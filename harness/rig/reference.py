"""The tables of the reference page: every key of rig file and device file, as the models say.

`python -m harness.rig.reference PAGE` makes those of a page anew.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.rig.claim_base import ClaimBase
from harness.rig.loading import json_schemas

__all__ = ["headings", "with_tables"]

Schema = Mapping[str, Any]

_HEADINGS = {
    "RigFile": "Rig",
    "Rs485": "RS-485",
    "CommandStorage": "Storage by a command",
    "OperatorStorage": "Storage by a person",
    "LabgridStorage": "Storage by labgrid",
    "DeviceFile": "Device",
    "FingerprintItem": "Fingerprint",
    "DialogueLogin": "Log-in",
    "FieldCodec": "Field",
    "HttpLogin": "HTTP log-in",
    "HttpPattern": "HTTP pattern",
    "HttpRequestSpec": "HTTP request",
    "HttpAction": "HTTP action",
    "HttpFile": "HTTP file",
    "HttpPage": "HTTP page",
    "HttpTaken": "HTTP value",
    "MessageLogin": "Message log-in",
    "UdsSecurity": "Security access",
    "BusEffect": "Harmless command",
    "ClaimBase": "Every claim",
}
"""Model → heading, where that is not the model's name in words and it is none of several kinds."""
_KINDS = {"links": "Link", "control": "Control", "surfaces": "Surface", "claims": "Claim"}
"""Key of a file under which one of several kinds stands → the first word of their headings."""
_TABLE = re.compile(r"\| key \| value \| default \| meaning \|\n\|[-|]+\|\n(?:\|.*\|\n)*")
_SCALARS = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true/false"}


def with_tables(page: str) -> str:
    """Return a page of Markdown with the first table of keys under each model's heading made anew.

    Raises:
        UsageError: a model has no heading with a table on the page.
    """
    reference = _Reference()
    for name in reference.models:
        heading = reference.heading(name)
        place = re.search(rf"(?m)^#+ {re.escape(heading)}$", page)
        table = _TABLE.search(page, place.end()) if place else None
        if place is None or table is None or re.search(r"(?m)^#+ ", page[place.end() : table.start()]):
            raise UsageError(f"{name} has no table under the heading {heading!r}", hint="add the heading, and a table")
        page = page[: table.start()] + reference.table(name) + page[table.end() :]
    return page


def headings() -> dict[str, str]:
    """Return the heading of each model's table by the model's name."""
    reference = _Reference()
    return {name: reference.heading(name) for name in reference.models}


class _Reference:
    """The JSON schemas of rig file and device file, in words."""

    def __init__(self) -> None:
        files = json_schemas()
        self.models: dict[str, Schema] = {
            "RigFile": files["rig"], "DeviceFile": files["device"], "ClaimBase": ClaimBase.model_json_schema()
        }  # fmt: skip
        self._enumerations: dict[str, Schema] = {}
        self._kinds: dict[str, str] = {}
        for schema in files.values():
            for name, part in schema["$defs"].items():
                (self.models if "properties" in part else self._enumerations)[name] = part
            for key, part in schema["properties"].items():
                one_of = part.get("additionalProperties", part)
                for kind, ref in one_of.get("discriminator", {}).get("mapping", {}).items():
                    self._kinds[_name(ref)] = f"{_KINDS[key]} `{kind}`"

    def heading(self, name: str) -> str:
        """Return the heading of a model's table."""
        words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).capitalize()
        return self._kinds.get(name) or _HEADINGS.get(name, words)

    def table(self, name: str) -> str:
        """Return a model's table; what every claim has stands in a table of its own."""
        model = self.models[name]
        common = ClaimBase.model_fields if self.heading(name).startswith("Claim `") else ()
        required = {*model.get("required", ()), *(["type"] if name in self._kinds else [])}
        rows = [
            f"| `{key}` | {self._value(part)} | {_default(part, required=key in required)} | {_meaning(part)} |\n"
            for key, part in sorted(model["properties"].items(), key=lambda item: item[0] != "type")
            if key not in common
        ]
        return "| key | value | default | meaning |\n|---|---|---|---|\n" + "".join(rows)

    def _value(self, part: Schema) -> str:
        """Say what may stand there."""
        match part:
            case {"const": only}:
                return f"`{only}`"
            case {"enum": words}:
                named = [f"`{word}`" for word in words if word != ""]
                return named[0] if len(named) == 1 else f"one of {', '.join(named)}"
            case {"$ref": ref}:
                return self._referred(_name(ref))
            case {"discriminator": _}:
                return "see below"
            case {"anyOf": ways}:
                return _either([self._value(way) for way in ways if way.get("type") != "null"])
            case {"type": "array", "prefixItems": [first, *rest]}:
                return f"{1 + len(rest)} {_several(self._value(first))}"
            case {"type": "array", "items": items}:
                return f"list of {_several(self._value(items))}"
            case {"type": "object", "additionalProperties": dict(inner)}:
                return f"mapping → {self._value(inner)}"
            case {"type": "object", "patternProperties": dict(patterns)}:
                return f"mapping → {self._value(next(iter(patterns.values())))}"
            case {"type": "object"}:
                return "mapping → anything"
            case {"format": "date"}:
                return "date"
            case {"type": kind}:
                return _SCALARS[kind]
        return "anything"

    def _referred(self, name: str) -> str:
        if name in self._enumerations:
            return self._value(self._enumerations[name])
        heading = self.heading(name)
        return f"[{heading}](#{re.sub(r'[^a-z0-9-]', '', heading.lower().replace(' ', '-'))})"


def _meaning(part: Schema) -> str:
    said = str(part.get("description") or ("Which kind" if part.get("title") == "Type" else ""))
    # A cell begins small, but for a name or an abbreviation.
    return said if re.match(r"\W|[A-Z][A-Z0-9:]|[A-Z]-", said) else said[:1].lower() + said[1:]


def _default(part: Schema, *, required: bool) -> str:
    if required:
        return "required"
    match part.get("default"):
        case None:
            return "none"
        case list(values) if values:
            return f"`[{', '.join(map(str, values))}]`"
        case dict(values) if values:
            return "`{" + ", ".join(f"{name}: {value}" for name, value in values.items()) + "}`"
        case str(text) if text:
            return f"`{text}`".replace("\r", r"\r")
        case bool() | int() | float() as value:
            return f"`{json.dumps(value)}`"
    return "empty"


def _either(ways: list[str]) -> str:
    ways = [way for way in dict.fromkeys(ways) if way != "whole number" or "number" not in ways]
    return " or ".join([", ".join(ways[:-1]), ways[-1]] if len(ways) > 1 else ways)


def _several(words: str) -> str:
    return re.sub(r"^(text|(?:whole )?number|mapping)\b", r"\1s", words)


def _name(ref: str) -> str:
    return ref.rpartition("/")[2]


if __name__ == "__main__":
    for file in map(Path, sys.argv[1:]):
        file.write_text(with_tables(file.read_text(encoding="utf-8")), encoding="utf-8")
