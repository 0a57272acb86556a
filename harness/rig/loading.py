"""Reading rig and device files: every mistake is named with file, line and key, before any power is applied."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from ruamel.yaml.comments import CommentedSeq

from harness.errors import UsageError
from harness.rig.can_database import Neighbours
from harness.rig.device_file import DeviceFile
from harness.rig.rig_file import ProcessControlSpec, QemuControlSpec, RigFile
from harness.rig.variants import Layered, read_layers

__all__ = ["DeviceSource", "Falsified", "LoadedDevice", "Rig", "json_schemas", "load_device", "load_rig", "read_device"]

M = TypeVar("M", bound=BaseModel)
_ENV = re.compile(r"\$\{env:(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}")


@dataclass(frozen=True, slots=True)
class Falsified:
    """Which claim of a rig's device was falsified in memory, by which falsification, and what it changed."""

    claim: str
    falsification: str
    how: str


@dataclass(frozen=True, slots=True)
class DeviceSource:
    """One of the files a device file is made of, with the SHA-256 of its bytes."""

    path: Path
    sha256: str


@dataclass(frozen=True, slots=True)
class LoadedDevice:
    """A device file with all the files it is made of: itself, its base, the base of that, CAN databases.

    `merged_sha256` is of what they say together, as JSON, before the environment is filled in.
    """

    device: DeviceFile
    files: tuple[DeviceSource, ...]
    merged_sha256: str


@dataclass(frozen=True, slots=True)
class Rig:
    """A rig file with the device file it names, both validated.

    `falsified` says that it is not what the files say: a challenge, whose results are no evidence.
    """

    path: Path
    file: RigFile
    sha256: str
    device_path: Path
    device: DeviceFile
    device_sha256: str
    device_files: tuple[DeviceSource, ...]
    device_merged_sha256: str
    falsified: Falsified | None = None

    @property
    def cloneable(self) -> bool:
        """Whether several processes may each have a device of their own."""
        return isinstance(self.file.control, QemuControlSpec | ProcessControlSpec)

    def with_weaknesses(self, names: Sequence[str]) -> Rig:
        """Return this rig with flaws of its fixture switched on.

        Raises:
            UsageError: the device is no fixture.
        """
        if not names:
            return self
        control = self.file.control
        if not isinstance(control, QemuControlSpec | ProcessControlSpec):
            raise UsageError("weaknesses can be switched on in a firmware fixture only", where=str(self.path))
        flawed = control.model_copy(update={"weaknesses": tuple(names)})
        return replace(self, file=self.file.model_copy(update={"control": flawed}))

    def where_in_device(self, *key: str | int) -> str:
        """Return `file:line: key` of a key of the device file, for messages."""
        return read_layers(self.device_path, variants=True).where(key)

    def secrets(self) -> list[str]:
        """Return every credential of device and unit, for masking."""
        return [*self.device.secrets(), *filter(None, [self.file.item.setup_code])]

    def resolve(self, relative: str) -> Path:
        """Return a path of the rig file as an absolute path."""
        return (self.path.parent / relative).resolve()


def load_rig(path: Path) -> Rig:
    """Read a rig file and its device file.

    Raises:
        UsageError: a file is missing, is not YAML, or breaks its model; the message has file, line and key.
    """
    layers = read_layers(path, variants=False)
    rig_file = _validated(layers, RigFile)
    device_path = (path.parent / rig_file.device).resolve()
    if not device_path.is_file():
        raise UsageError(
            f"device file {rig_file.device!r} does not exist",
            where=layers.where(("device",)),
            hint="give the path of the device file relative to the rig file",
        )
    loaded = read_device(device_path)
    device = loaded.device
    for number, name in enumerate(rig_file.links):
        if name not in device.links:
            raise UsageError(
                f"the device has no link {name!r}{_near(name, device.links)}",
                where=layers.where(("links", list(rig_file.links)[number])),
                hint=f"links of {device.device}: {', '.join(device.links)}",
            )
    for name in (device.surfaces[device.identity].link,):
        if name not in rig_file.links:
            raise UsageError(
                f"link {name!r} is not wired, but the device's identity is read over it",
                where=layers.where(("links",)),
                hint=f"add links.{name}",
            )
    for number, photo in enumerate(rig_file.photos):
        if not (path.parent / photo).is_file():
            raise UsageError(
                f"photograph {photo!r} does not exist",
                where=layers.where(("photos", number)),
                hint="give the path of the file relative to the rig file",
            )
    return Rig(
        path=path.resolve(),
        file=rig_file,
        sha256=layers.sha256,
        device_path=device_path,
        device=device,
        device_sha256=loaded.files[0].sha256,
        device_files=loaded.files,
        device_merged_sha256=loaded.merged_sha256,
    )


def load_device(path: Path) -> tuple[DeviceFile, str]:
    """Read a device file; return it with the SHA-256 of its bytes.

    Raises:
        UsageError: as `load_rig`.
    """
    loaded = read_device(path)
    return loaded.device, loaded.files[0].sha256


def read_device(path: Path) -> LoadedDevice:
    """Read a device file, the files it is based on, and the CAN databases it names.

    Raises:
        UsageError: as `load_rig`.
    """
    layers = read_layers(path, variants=True)
    beside = Neighbours(*(layer.path.parent for layer in layers.layers))
    device = _validated(layers, DeviceFile, beside=beside)
    for claim_id in device.claims:
        if not re.fullmatch(r"[A-Z][A-Z0-9-]*", claim_id):
            raise UsageError(
                f"claim id {claim_id!r} is not made of capitals, digits and dashes",
                where=layers.where(("claims", claim_id)),
                hint="name it like LOCKOUT or EP-RATE",
            )
    files = [DeviceSource(layer.path.resolve(), layer.sha256) for layer in layers.layers]
    files += [DeviceSource(database.resolve(), sha256) for database, sha256 in beside.read.items()]
    return LoadedDevice(device, tuple(files), _merged_sha256(layers))


def json_schemas() -> dict[str, dict[str, Any]]:
    """Return the JSON schemas of the files people edit, by name."""
    return {"rig": RigFile.model_json_schema(), "device": DeviceFile.model_json_schema()}


def _validated(layers: Layered, model: type[M], *, beside: Neighbours | None = None) -> M:
    data = _plain(layers, layers.merged, ())
    try:
        return model.model_validate(data, context=beside)
    except ValidationError as error:
        raise _usage(layers, error) from error


def _plain(layers: Layered, node: Any, key: tuple[str | int, ...], *, fill: bool = True) -> Any:
    """Return `node` without YAML decoration and, with `fill`, with `${env:NAME}` filled in."""
    if isinstance(node, dict):
        return {name: _plain(layers, value, (*key, name), fill=fill) for name, value in node.items()}
    if isinstance(node, CommentedSeq):
        return [_plain(layers, value, (*key, number), fill=fill) for number, value in enumerate(node)]
    if not isinstance(node, str):
        # ruamel keeps the writing of a number (0x7E0) in a subclass: make it plain.
        return node if isinstance(node, bool) or not isinstance(node, int | float) else node + 0

    def filled(match: re.Match[str]) -> str:
        value = os.environ.get(match["name"], match["default"])
        if value is None:
            raise UsageError(
                f"environment variable {match['name']} is not set",
                where=layers.where(key),
                hint=f"set it, or write ${{env:{match['name']}:-default}}",
            )
        return value

    return _ENV.sub(filled, str(node)) if fill else str(node)


def _merged_sha256(layers: Layered) -> str:
    """Return the SHA-256 of what the files say together, as JSON, before the environment is filled in."""
    plain = _plain(layers, layers.merged, (), fill=False)
    return hashlib.sha256(json.dumps(plain, default=str, separators=(",", ":")).encode()).hexdigest()


def _usage(layers: Layered, error: ValidationError) -> UsageError:
    """Turn the first complaint of pydantic into words of ours; count the others."""
    complaints = error.errors()
    first = complaints[0]
    key: tuple[object, ...] = tuple(part for part in first["loc"] if _exists(layers.merged, part, first["loc"]))
    spelled = ".".join(str(part) for part in key)
    hint: str | None = None
    if first["type"] == "extra_forbidden":
        message = f"unknown key {first['loc'][-1]!r}"
        hint = "see `proofrig rig schema` for the keys that exist"
    elif first["type"] == "missing":
        message = f"{first['loc'][-1]!r} is missing" + (f" in {spelled}" if spelled else "")
        if first["loc"][-1] == "source":
            hint = "a claim needs a source: {document: …, revision: …, section: …}"
    else:
        message = first["msg"].removeprefix("Value error, ")
        if not key:
            key, message = _named(layers, message)
        if not isinstance(first["input"], dict | list):
            message += f" (found {first['input']!r})"
    if len(complaints) > 1:
        message += f"; and {len(complaints) - 1} more"
    return UsageError(message, where=layers.where(key), hint=hint)


def _named(layers: Layered, message: str) -> tuple[tuple[object, ...], str]:
    """Return the key with which a complaint about the whole file begins, if it is there, and the rest of it."""
    spelled, colon, rest = message.partition(": ")
    node: Any = layers.merged
    for part in spelled.split("."):
        if not isinstance(node, dict) or part not in node:
            return (), message
        node = node[part]
    return (tuple(spelled.split(".")), rest) if colon else ((), message)


def _exists(tree: Mapping[str, Any], part: object, loc: Sequence[object]) -> bool:
    """Leave out the parts pydantic adds for unions, which are in no file."""
    node: Any = tree
    for step in loc:
        in_map = isinstance(node, dict) and step in node
        if in_map or (isinstance(node, CommentedSeq) and isinstance(step, int) and step < len(node)):
            node = node[step]
        elif step is part:
            return False
        else:
            continue
        if step is part:
            return True
    return False


def _near(name: str, names: Sequence[str]) -> str:
    close = get_close_matches(name, names, n=1)
    return f", did you mean {close[0]!r}?" if close else ""
