"""The update bundles of a rig: `index.json` in their folder says what is in each and what must come of it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from harness.errors import UsageError
from harness.rig.claim_base import Strict
from harness.rig.claim_life import UpdateChange, UpdateClass, UpdateRefusal
from harness.rig.loading import Rig

__all__ = ["Bundle", "Expected", "load_bundles", "newest_update"]

Expected = Literal["accepted", "refused", "rolled-back"]


class _Entry(Strict):
    file: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    version: str
    bytes: int | None = None
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    expect: Expected
    detail: str = ""
    update_class: UpdateClass | None = Field(default=None, alias="class")
    changes: dict[UpdateChange, dict[str, frozenset[str]]] = {}

    @model_validator(mode="after")
    def _known_reason(self) -> _Entry:
        if self.expect == "refused" and self.detail not in get_args(UpdateRefusal):
            raise ValueError(f"`detail` of a refused bundle is one of {', '.join(get_args(UpdateRefusal))}")
        return self


_INDEX = TypeAdapter(dict[str, _Entry])


@dataclass(frozen=True, slots=True)
class Bundle:
    """One bundle: its file, the version it says it has, and what must come of it.

    `expect` is `accepted`, `refused` (then `detail` is a key of the update claim's `refusals`) or `rolled-back`: it is
    installed and started, and the device comes back with the version it had. `update_class` is the class it is
    declared to be, None where the index does not say; `changes` what it adds to and removes from the inventory of the
    device's interfaces (`harness.procedures.inventory`), by area.
    """

    name: str
    path: Path
    version: str
    sha256: str
    expect: Expected
    detail: str = ""
    update_class: UpdateClass | None = None
    changes: Mapping[UpdateChange, Mapping[str, frozenset[str]]] = field(default_factory=dict)

    def read(self) -> bytes:
        """Return the bundle.

        Raises:
            UsageError: the file is missing, or is not the one of the index.
        """
        try:
            data = self.path.read_bytes()
        except OSError as error:
            raise UsageError(f"bundle {self.name!r}: {error.strerror}", where=str(self.path)) from error
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise UsageError(
                f"bundle {self.name!r} is not the one of the index", where=str(self.path), hint="build the bundles anew"
            )
        return data


def load_bundles(rig: Rig) -> dict[str, Bundle]:
    """Return the bundles of a rig by name.

    Raises:
        UsageError: the rig has none, or the index cannot be read.
    """
    if rig.file.bundles is None:
        raise UsageError("this rig has no update bundles", where=str(rig.path), hint="add bundles: FOLDER")
    folder = rig.resolve(rig.file.bundles)
    index = folder / "index.json"
    try:
        entries = _INDEX.validate_json(index.read_bytes())
    except OSError as error:
        raise UsageError(
            f"no index of bundles: {error.strerror}", where=str(index), hint="build the bundles"
        ) from error
    except ValidationError as error:
        raise UsageError(f"not an index of bundles: {error}", where=str(index)) from error
    return {
        name: Bundle(
            name=name,
            path=folder / entry.file,
            version=entry.version,
            sha256=entry.sha256,
            expect=entry.expect,
            detail=entry.detail,
            update_class=entry.update_class,
            changes=entry.changes,
        )
        for name, entry in entries.items()
    }


def newest_update(rig: Rig) -> Bundle:
    """Return the bundle with the highest version, its numbers compared one by one, of those the device must take.

    One that is declared a major update only where there is no other: it may remove what testcases go by.

    Raises:
        UsageError: the rig has none.
    """
    good = [bundle for bundle in load_bundles(rig).values() if bundle.expect == "accepted"]
    if not good:
        raise UsageError("this rig has no update bundle that must be accepted", where=str(rig.path))
    lesser = [bundle for bundle in good if bundle.update_class != "major"]
    return max(lesser or good, key=lambda bundle: [int(number) for number in re.findall(r"\d+", bundle.version)])
