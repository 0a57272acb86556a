"""A file people edit and the files it is based on: read, merged, and every place found again in the file it stands in.

A device file may say `base: other.yaml` and state only what is different there. Merging is JSON merge patch (RFC 7396),
with one difference: a `null` that removes nothing is a mistake, since it is a name written wrong.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from harness.errors import UsageError

__all__ = ["BASE", "Layer", "Layered", "read_layers", "read_tree"]

BASE = "base"
"""Key that names the file a variant is based on, relative to the variant."""

Key = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Layer:
    """One file: where it is, what stands in it, and the SHA-256 of its bytes."""

    path: Path
    tree: CommentedMap
    sha256: str


@dataclass(frozen=True, slots=True)
class Layered:
    """A file with its bases. `layers` begins with the file itself; `merged` holds the nodes of all of them."""

    layers: tuple[Layer, ...]
    merged: Mapping[str, Any]

    @property
    def path(self) -> Path:
        """The file itself."""
        return self.layers[0].path

    @property
    def sha256(self) -> str:
        """SHA-256 of the bytes of the file itself."""
        return self.layers[0].sha256

    def where(self, key: Sequence[object]) -> str:
        """Return `file:line: key` of the innermost part of `key`, in the file that states most of it."""
        depths = [_depth(layer.tree, key) for layer in self.layers]
        layer = self.layers[depths.index(max(depths))]
        return _place(layer, key)


def read_layers(path: Path, *, variants: bool) -> Layered:
    """Read a file, and with `variants` the files it is based on, and merge them.

    Raises:
        UsageError: a file is missing, is no UTF-8, no YAML or no mapping; the bases go round in a circle; a `null`
            removes what no base has.
    """
    layers = [_read(path)]
    while variants and BASE in layers[-1].tree:
        layers.append(_read_base(layers))
    merged: Mapping[str, Any] = layers[-1].tree
    for layer in reversed(layers[:-1]):
        merged = _merge(layer, merged, layer.tree, ())
    return Layered(tuple(layers), merged)


def read_tree(path: Path, blob: bytes, *, quotes: bool = False) -> CommentedMap:
    """Return what stands in `blob`, the bytes of the YAML file `path`, with comments and the places of all keys.

    `quotes`: texts remember how they were quoted, to be written so again.

    Raises:
        UsageError: it is no UTF-8, no YAML or no mapping.
    """
    yaml = YAML(typ="rt")
    yaml.preserve_quotes = quotes
    try:
        tree = yaml.load(blob.decode("utf-8"))
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
    return tree


def _read(path: Path) -> Layer:
    try:
        blob = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror}", where=str(path), hint="check the path") from error
    return Layer(path, read_tree(path, blob), hashlib.sha256(blob).hexdigest())


def _read_base(layers: Sequence[Layer]) -> Layer:
    """Read the base of the last of `layers`."""
    variant = layers[-1]
    where, named = _place(variant, (BASE,)), variant.tree[BASE]
    if not isinstance(named, str) or "\0" in named:
        raise UsageError("is no path of a file", where=where, hint="base: other.yaml, relative to this file")
    path = variant.path.parent / named
    if not path.is_file():
        raise UsageError(
            f"base {named!r} does not exist", where=where, hint="give the path of the base relative to this file"
        )
    chain = [layer.path.resolve() for layer in layers]
    if path.resolve() in chain:
        circle = " → ".join(each.name for each in (*chain[chain.index(path.resolve()) :], path.resolve()))
        raise UsageError(f"the bases go round in a circle: {circle}", where=where, hint="one file must have no base")
    return _read(path)


def _merge(layer: Layer, base: Mapping[Any, Any], variant: Mapping[Any, Any], key: Key) -> dict[Any, Any]:
    """Return `base` with what `variant`, a part of `layer`, states differently; neither is changed."""
    merged = dict(base.items())
    for name, value in variant.items():
        place = (*key, name)
        if value is None:
            if name not in base:
                raise UsageError(
                    "null removes a key of the base, but the base has none of this name",
                    where=_place(layer, place),
                    hint="compare the name with the base, or leave it out",
                )
            del merged[name]
        elif isinstance(value, Mapping):
            below = base.get(name)
            merged[name] = _merge(layer, below if isinstance(below, Mapping) else {}, value, place)
        else:
            merged[name] = value
    if len(key) == 2 and key[0] == "claims" and base and "status" not in variant and merged.get("status") == "approved":
        # Who approved the base's claim did not approve what differs here.
        merged.pop("status")
        merged.pop("approval", None)
    return merged


def _depth(tree: CommentedMap, key: Sequence[object]) -> int:
    """Return how many parts of `key` stand in `tree`."""
    node: Any = tree
    for depth, part in enumerate(key):
        try:
            node = node[part]
        except (KeyError, IndexError, TypeError):
            return depth
        if not isinstance(node, CommentedMap | CommentedSeq):
            return depth + 1
    return len(key)


def _place(layer: Layer, key: Sequence[object]) -> str:
    """Return `file:line: key`, with the line of the innermost part of `key` that is in the file."""
    node: Any = layer.tree
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
    return f"{layer.path}:{line + 1}" + (f": {spelled}" if spelled else "")
