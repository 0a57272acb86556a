"""Backups are tampered with as said, everywhere, and never come out as they went in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.device import backup_tamper
from harness.device.backup_layout import header, split, with_header
from harness.rig.claims import BackupClaim
from harness.rig.loading import load_device

PUMP = Path(__file__).parents[2] / "rigs/devices/infusion-pump.yaml"
SECTIONS = ["configuration", "users", "patients", "therapy"]


@pytest.fixture(scope="module")
def claim() -> BackupClaim:
    (found,) = load_device(PUMP)[0].claims_of(BackupClaim).values()
    return found


@pytest.fixture(scope="module")
def blob() -> bytes:
    head = json.dumps({"family": "VP-1", "version": "1.0.0", "serial": "VP1-000417", "created": "now"}).encode()
    sections = b"".join(
        bytes([kind]) + (50 + kind).to_bytes(4) + bytes([64 + kind]) * (50 + kind) for kind in (1, 2, 3, 4)
    )
    return b"VP1BKP\0\1" + len(head).to_bytes(2) + head + b"s" * 16 + sections + b"m" * 32


def test_records_are_what_is_made_alike(claim: BackupClaim) -> None:
    assert backup_tamper.records(claim.layout) == [(f"{name} type", f"{name} length", name) for name in SECTIONS]
    assert backup_tamper.records(claim.layout[:5]) == []


def test_every_part_is_changed_in_one_bit(claim: BackupClaim, blob: bytes) -> None:
    made = list(backup_tamper.changed(claim, blob))
    parts = split(claim.layout, blob)
    assert parts is not None
    assert {title.split(":")[0] for title, _ in made} == set(parts)
    for _, other in made:
        assert sum((one ^ two).bit_count() for one, two in zip(blob, other, strict=True)) == 1


def test_records_are_swapped_whole(claim: BackupClaim, blob: bytes) -> None:
    made = dict(backup_tamper.swapped(claim, blob))
    assert len(made) == 2 * 3 + 4
    swapped = made["configuration and users swapped"]
    assert len(swapped) == len(blob)
    parts = split(claim.layout, swapped)
    assert parts is not None
    assert swapped[parts["configuration type"].start] == 2
    assert split(claim.layout, made["without patients"]) is None


def test_none_is_as_it_was(claim: BackupClaim, blob: bytes) -> None:
    kinds = (
        backup_tamper.changed, backup_tamper.cut, backup_tamper.swapped, backup_tamper.foreign,
        backup_tamper.other_versions, backup_tamper.other_formats,
    )  # fmt: skip
    made = [other for kind in kinds for _, other in kind(claim, blob)]
    titles = [title for kind in kinds for title, _ in kind(claim, blob)]
    assert blob not in made
    assert len(set(titles)) == len(titles)


def test_headers_say_something_else_and_nothing_more(claim: BackupClaim, blob: bytes) -> None:
    families = [header(claim, other) for _, other in backup_tamper.foreign(claim, blob)]
    assert len(families) == 4
    assert all(each and each["family"] != "VP-1" and each["version"] == "1.0.0" for each in families)
    versions = [(header(claim, other) or {})["version"] for _, other in backup_tamper.other_versions(claim, blob)]
    assert versions == ["2.0.0", "1.1.0", "1.0.1"]
    assert [other[7] for _, other in backup_tamper.other_formats(claim, blob)] == [0, 2, 255]


def test_what_is_no_backup_gives_nothing(claim: BackupClaim) -> None:
    for kind in (backup_tamper.changed, backup_tamper.swapped, backup_tamper.foreign, backup_tamper.other_versions):
        assert list(kind(claim, b"not a backup at all")) == []


@pytest.mark.parametrize("version", ["1.2.3.4.5", "9" * 5000, "\u0661.\u0662", "1" * 10, ""])
def test_a_version_that_is_none_is_left_alone(claim: BackupClaim, blob: bytes, version: str) -> None:
    said = with_header(claim, blob, version=version)
    assert said is not None
    assert list(backup_tamper.other_versions(claim, said)) == []


def test_records_that_are_alike_are_not_swapped(claim: BackupClaim) -> None:
    record = bytes([1]) + (3).to_bytes(4) + b"abc"
    same = b"VP1BKP\0\1" + (2).to_bytes(2) + b"{}" + b"s" * 16 + record * 4 + b"m" * 32
    made = [other for _, other in backup_tamper.swapped(claim, same)]
    assert made
    assert same not in made
