"""The parts of a backup file as its claim lays them out: where each is, and a header put right after a change."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from harness.device.http_values import parse
from harness.rig.claims import BackupClaim, BackupPart

__all__ = ["header", "split", "with_header"]


def split(layout: Sequence[BackupPart], blob: bytes) -> dict[str, range] | None:
    """Return where each part of `blob` is, in order; `None` when it is not laid out like that to its last byte."""
    found: dict[str, range] = {}
    at = 0
    for part in layout:
        if part.size is not None:
            size = part.size
        else:
            where = found[part.size_in]
            size = int.from_bytes(blob[where.start : where.stop])
        if at + size > len(blob):
            return None
        found[part.name] = range(at, at + size)
        at += size
    return found if at == len(blob) else None


def header(claim: BackupClaim, blob: bytes) -> dict[str, object] | None:
    """Return the header in clear of a backup; `None` when there is none, or it is no JSON object."""
    parts = split(claim.layout, blob)
    if parts is None or not claim.header:
        return None
    where = parts[claim.header]
    value = parse(blob[where.start : where.stop])
    return value if isinstance(value, dict) else None


def with_header(claim: BackupClaim, blob: bytes, **values: str) -> bytes | None:
    """Return a backup whose header says other `values` (`family`, `version`, `serial`), with the length put right.

    Nothing else is changed: what vouches for the header no longer does. `None` when there is no such header, it lacks
    such a value in the claim, or it has become too long.
    """
    parts, old = split(claim.layout, blob), header(claim, blob)
    names: Mapping[str, str] = {str(what): name for what, name in claim.header_values.items()}
    if parts is None or old is None or not values.keys() <= names.keys():
        return None
    new = json.dumps(old | {names[what]: value for what, value in values.items()}).encode()
    where = parts[claim.header]
    changed = bytearray(blob[: where.start] + new + blob[where.stop :])
    size_in = next(part.size_in for part in claim.layout if part.name == claim.header)
    if size_in:
        length = parts[size_in]
        if len(new) >= 256 ** len(length):
            return None
        changed[length.start : length.stop] = len(new).to_bytes(len(length))
    return bytes(changed)
