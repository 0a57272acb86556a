"""Backups that are no longer what was backed up: changed, swapped, cut, grown. Each with what was done to it."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence

from harness.device.backup_layout import header, split, with_header
from harness.rig.claims import BackupClaim, BackupPart

__all__ = ["changed", "cut", "foreign", "other_formats", "other_versions", "records", "swapped"]

_LONGEST_VERSION = 64
_MOST_NUMBERS = 4
"""A version comes from the device: what is longer, or has more numbers, is not taken for one."""


def changed(claim: BackupClaim, blob: bytes) -> Iterator[tuple[str, bytes]]:
    """Change one bit in the first, the middle and the last byte of each part; the length stays."""
    for name, where in (split(claim.layout, blob) or {}).items():
        if not where:
            continue
        for place, at in {"first": where[0], "middle": where[len(where) // 2], "last": where[-1]}.items():
            if place == "first" or at != where[0]:
                yield f"{name}: {place} byte changed", blob[:at] + bytes([blob[at] ^ 0x01]) + blob[at + 1 :]


def cut(claim: BackupClaim, blob: bytes) -> Iterator[tuple[str, bytes]]:
    """Leave out bytes at either end and behind each part, or add some."""
    yield "last byte missing", blob[:-1]
    yield "first byte missing", blob[1:]
    yield "one more byte at the end", blob + b"\0"
    yield "one more byte at the beginning", b"\0" + blob
    yield "twice in a row", blob + blob
    for name, where in list((split(claim.layout, blob) or {}).items())[:-1]:
        if where.stop < len(blob):
            yield f"ends behind {name}", blob[: where.stop]


def swapped(claim: BackupClaim, blob: bytes) -> Iterator[tuple[str, bytes]]:
    """Exchange each two neighbouring records, leave each out, and have each twice in the other's place."""
    parts = split(claim.layout, blob)
    if parts is None:
        return
    found = [(names[-1], blob[parts[names[0]].start : parts[names[-1]].stop]) for names in records(claim.layout)]
    made: list[tuple[str, bytes]] = []
    for (one, first), (other, second) in itertools.pairwise(found):
        both = first + second
        made.append((f"{one} and {other} swapped", blob.replace(both, second + first, 1)))
        made.append((f"{other} in the place of {one} too", blob.replace(both, second + second, 1)))
    made += [(f"without {name}", blob.replace(record, b"", 1)) for name, record in found]
    yield from ((title, altered) for title, altered in made if altered != blob)  # records may be alike, or empty


def foreign(claim: BackupClaim, blob: bytes) -> Iterator[tuple[str, bytes]]:
    """Have the header name another family of devices."""
    old = str((header(claim, blob) or {}).get(claim.header_values.get("family", ""), ""))
    if old:
        for title, family in {
            "another": "XQ-9",
            "a longer one": f"{old}0",
            "none": "",
            "in small letters": old.lower(),
        }.items():
            made = with_header(claim, blob, family=family)
            if made is not None and family != old:
                yield f"family: {title}", made


def other_versions(claim: BackupClaim, blob: bytes) -> Iterator[tuple[str, bytes]]:
    """Have the header name newer versions of the software, and the format another one."""
    old = str((header(claim, blob) or {}).get(claim.header_values.get("version", ""), ""))
    numbers = old.split(".") if len(old) <= _LONGEST_VERSION else []
    if len(numbers) > _MOST_NUMBERS:
        return
    for place, number in enumerate(numbers):
        if re.fullmatch("[0-9]{1,9}", number):
            newer = [*numbers[:place], str(int(number) + 1), *numbers[place + 1 :]]
            made = with_header(claim, blob, version=".".join(newer))
            if made is not None:
                yield f"version {'.'.join(newer)}", made


def other_formats(claim: BackupClaim, blob: bytes) -> Iterator[tuple[str, bytes]]:
    """Have the parts that say the version of the format say others: none, the next, the last there is."""
    parts = split(claim.layout, blob) or {}
    for name, right in claim.version_parts.items():
        where = parts.get(name, range(0))
        most = 256 ** len(where) - 1
        for number in sorted({0, right + 1, most} - {right}):
            if where and number <= most:
                yield f"{name} {number}", blob[: where.start] + number.to_bytes(len(where)) + blob[where.stop :]


def records(layout: Sequence[BackupPart]) -> list[tuple[str, ...]]:
    """Return the runs of parts that are made alike, in order: those that end in a part of the same kind of length.

    Such a record is a part whose length stands right before it, with the fixed parts before that which all have.
    Without two of a kind there are none.
    """
    names = [part.name for part in layout]
    ends: dict[int | None, list[int]] = {}
    for at, part in enumerate(layout):
        if at and part.size_in == names[at - 1]:
            ends.setdefault(layout[at - 1].size, []).append(at)
    alike = max(ends.values(), key=len, default=[])
    if len(alike) < 2:
        return []
    length = 2
    while (
        alike[0] >= length and len({layout[at - length].size for at in alike}) == 1 and layout[alike[0] - length].size
    ):
        length += 1
    return [tuple(names[at - length + 1 : at + 1]) for at in alike]
