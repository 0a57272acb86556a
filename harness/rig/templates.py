"""Templates of a device file: texts with names in braces that are filled from the arguments of an action."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

__all__ = ["OPERATIONS", "Scalar", "check_whole", "filled", "holes"]

Scalar = str | int | float | bool

_HOLE = re.compile(r"\{(\w+)\}")


def holes(template: Any) -> set[str]:
    """Return the names in braces in a template, in all its texts."""
    if isinstance(template, str):
        return set(_HOLE.findall(template))
    if isinstance(template, Mapping):
        return set().union(*(holes(part) for pair in template.items() for part in pair))
    if isinstance(template, list | tuple):
        return set().union(*(holes(part) for part in template))
    return set()


def filled(template: str, values: Mapping[str, Scalar]) -> str:
    """Return a text with its `{NAME}` filled in; a name without a value stays as it is."""
    return _HOLE.sub(lambda hole: str(values.get(hole[1], hole[0])), template)


OPERATIONS: Mapping[str, tuple[str, ...]] = {
    "version": (),
    "user-list": (),
    "user-add": ("user", "role", "password"),
    "user-remove": ("user",),
    "user-set-role": ("user", "role"),
    "user-set-password": ("user", "password"),
    "unlock": ("user",),
    "own-password": ("old", "new"),
    "patient-list": (),
    "patient-add": ("id", "name", "ward", "note"),
    "patient-remove": ("id",),
    "backup": ("passphrase",),
    "restore": ("passphrase",),
    "equipment-list": (),
    "equipment-read": ("name",),
    "update-upload": ("name",),
    "update-url": ("url",),
    "update-status": (),
    "reboot": (),
    "factory-reset": ("confirm",),
    "setup": ("code", "password"),
}
"""Actions testcases ask for by these names, with these arguments, whatever the make."""


def check_whole(action: str, named: Collection[str]) -> None:
    """Find an action that has the name of an operation, and does not use all of its arguments.

    Raises:
        ValueError: some are not among the names its template uses.
    """
    if lacking := sorted(set(OPERATIONS.get(action, ())) - set(named)):
        raise ValueError(f"action {action}: the operation has {', '.join(lacking)}; use it in braces")
