"""Reading rig and device files: every mistake is named with file, line and key, before any power is applied."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from harness.errors import UsageError
from harness.rig.can_database import Neighbours
from harness.rig.device_file import DeviceFile
from harness.rig.rig_file import ProcessControlSpec, QemuControlSpec, RigFile

__all__ = ["Falsified", "Rig", "json_schemas", "load_device", "load_rig"]

M = TypeVar("M", bound=BaseModel)
_ENV = re.compile(r"\$\{env:(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}")


@dataclass(frozen=True, slots=True)
class Falsified:
    """Which claim of a rig's device was falsified in memory, by which falsification, and what it changed."""

    claim: str
    falsification: str
    how: str


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
        tree = YAML(typ="rt").load(self.device_path.read_bytes())
        return _where(self.device_path, tree, key)

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
    tree, rig_file, digest = _load(path, RigFile)
    device_path = (path.parent / rig_file.device).resolve()
    if not device_path.is_file():
        raise UsageError(
            f"device file {rig_file.device!r} does not exist",
            where=_where(path, tree, ("device",)),
            hint="give the path of the device file relative to the rig file",
        )
    device, device_digest = load_device(device_path)
    for number, name in enumerate(rig_file.links):
        if name not in device.links:
            raise UsageError(
                f"the device has no link {name!r}{_near(name, device.links)}",
                where=_where(path, tree, ("links", list(rig_file.links)[number])),
                hint=f"links of {device.device}: {', '.join(device.links)}",
            )
    for name in (device.surfaces[device.identity].link,):
        if name not in rig_file.links:
            raise UsageError(
                f"link {name!r} is not wired, but the device's identity is read over it",
                where=_where(path, tree, ("links",)),
                hint=f"add links.{name}",
            )
    for number, photo in enumerate(rig_file.photos):
        if not (path.parent / photo).is_file():
            raise UsageError(
                f"photograph {photo!r} does not exist",
                where=_where(path, tree, ("photos", number)),
                hint="give the path of the file relative to the rig file",
            )
    return Rig(
        path=path.resolve(),
        file=rig_file,
        sha256=digest,
        device_path=device_path,
        device=device,
        device_sha256=device_digest,
    )


def load_device(path: Path) -> tuple[DeviceFile, str]:
    """Read a device file; return it with the SHA-256 of its bytes, and those of its CAN databases after them.

    Raises:
        UsageError: as `load_rig`.
    """
    tree, device, digest = _load(path, DeviceFile)
    for claim_id in device.claims:
        if not re.fullmatch(r"[A-Z][A-Z0-9-]*", claim_id):
            raise UsageError(
                f"claim id {claim_id!r} is not made of capitals, digits and dashes",
                where=_where(path, tree, ("claims", claim_id)),
                hint="name it like LOCKOUT or EP-RATE",
            )
    return device, digest


def json_schemas() -> dict[str, dict[str, Any]]:
    """Return the JSON schemas of the files people edit, by name."""
    return {"rig": RigFile.model_json_schema(), "device": DeviceFile.model_json_schema()}


def _load(path: Path, model: type[M]) -> tuple[Any, M, str]:
    try:
        blob = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror}", where=str(path), hint="check the path") from error
    try:
        tree = YAML(typ="rt").load(blob.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise UsageError(f"is not UTF-8: {error.reason} at byte {error.start}", where=str(path)) from error
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UsageError(f"not valid YAML: {error.problem}", where=f"{path}:{line}") from error
    except (YAMLError, ValueError, IndexError, AttributeError) as error:
        # ruamel lets the errors of its scalar constructors (dates, numbers) through.
        raise UsageError(f"not valid YAML: {error}", where=str(path)) from error
    if not isinstance(tree, CommentedMap):
        raise UsageError("is not a mapping of keys to values", where=f"{path}:1", hint="see docs/device-file.md")
    data = _plain(path, tree, tree, ())
    beside = Neighbours(path.parent)
    try:
        valid = model.model_validate(data, context=beside)
        return tree, valid, hashlib.sha256(b"".join((blob, *beside.read))).hexdigest()
    except ValidationError as error:
        raise _usage(path, tree, error) from error


def _plain(path: Path, root: CommentedMap, node: Any, key: tuple[str | int, ...]) -> Any:
    """Return `node` without YAML decoration and with `${env:NAME}` filled in."""
    if isinstance(node, CommentedMap):
        return {name: _plain(path, root, value, (*key, name)) for name, value in node.items()}
    if isinstance(node, CommentedSeq):
        return [_plain(path, root, value, (*key, number)) for number, value in enumerate(node)]
    if not isinstance(node, str):
        # ruamel keeps the writing of a number (0x7E0) in a subclass: make it plain.
        return node if isinstance(node, bool) or not isinstance(node, int | float) else node + 0

    def fill(match: re.Match[str]) -> str:
        value = os.environ.get(match["name"], match["default"])
        if value is None:
            raise UsageError(
                f"environment variable {match['name']} is not set",
                where=_where(path, root, key),
                hint=f"set it, or write ${{env:{match['name']}:-default}}",
            )
        return value

    return _ENV.sub(fill, str(node))


def _usage(path: Path, tree: CommentedMap, error: ValidationError) -> UsageError:
    """Turn the first complaint of pydantic into words of ours; count the others."""
    complaints = error.errors()
    first = complaints[0]
    key = tuple(part for part in first["loc"] if _exists(tree, part, first["loc"]))
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
        if not isinstance(first["input"], dict | list):
            message += f" (found {first['input']!r})"
    if len(complaints) > 1:
        message += f"; and {len(complaints) - 1} more"
    return UsageError(message, where=_where(path, tree, key), hint=hint)


def _exists(tree: CommentedMap, part: object, loc: Sequence[object]) -> bool:
    """Leave out the parts pydantic adds for unions, which are in no file."""
    node: Any = tree
    for step in loc:
        in_map = isinstance(node, CommentedMap) and step in node
        if in_map or (isinstance(node, CommentedSeq) and isinstance(step, int) and step < len(node)):
            node = node[step]
        elif step is part:
            return False
        else:
            continue
        if step is part:
            return True
    return False


def _where(path: Path, tree: CommentedMap, key: Sequence[object]) -> str:
    """Return `file:line: key` of the innermost part of `key` that is in the file."""
    node: Any = tree
    line = 0
    for part in key:
        try:
            if isinstance(node, CommentedMap):
                line = node.lc.key(part)[0]
            elif isinstance(node, CommentedSeq):
                line = node.lc.item(part)[0]
            node = node[part]
        except (KeyError, IndexError, TypeError):
            break
    spelled = ".".join(str(part) for part in key)
    return f"{path}:{line + 1}" + (f": {spelled}" if spelled else "")


def _near(name: str, names: Sequence[str]) -> str:
    close = get_close_matches(name, names, n=1)
    return f", did you mean {close[0]!r}?" if close else ""
