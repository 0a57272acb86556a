"""The bundles of a rig: what the index says is believed of the file it names only."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from pydantic import ValidationError

from harness.errors import UsageError
from harness.instances import update_bundles
from harness.procedures.inventory import changed
from harness.rig.bundles import load_bundles, newest_update
from harness.rig.claims import UpdateClaim
from harness.rig.loading import Rig, load_rig

ROOT = Path(__file__).parents[2]
RIG = """\
rig: bench
device: pump.yaml
item: {serial: S1, grade: emulated, setup_code: label-code}
targets: [127.0.0.1]
bundles: bundles
links:
  modbus-tcp: {type: modbus-tcp, host: 127.0.0.1}
"""


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    shutil.copy(ROOT / "rigs/devices/infusion-pump.yaml", tmp_path / "pump.yaml")
    (tmp_path / "rig.yaml").write_text(RIG)
    (tmp_path / "bundles").mkdir()
    (tmp_path / "bundles/good.raucb").write_bytes(b"bundle")
    return load_rig(tmp_path / "rig.yaml")


def entry(**changes: object) -> dict[str, object]:
    digest = hashlib.sha256(b"bundle").hexdigest()
    return {"file": "good.raucb", "version": "1.1.0", "sha256": digest, "expect": "accepted"} | changes


def write(rig: Rig, index: object) -> None:
    (rig.path.parent / "bundles/index.json").write_text(json.dumps(index))


def test_a_bundle_is_read_as_the_index_says(rig: Rig) -> None:
    write(rig, {"good": entry(), "bad": entry(sha256="0" * 64, expect="refused", detail="signature")})
    bundles = load_bundles(rig)
    assert list(bundles) == ["good", "bad"]
    assert (bundles["good"].version, bundles["good"].expect, bundles["good"].read()) == ("1.1.0", "accepted", b"bundle")
    with pytest.raises(UsageError, match="not the one of the index"):
        bundles["bad"].read()


def test_the_newest_update_is_the_highest_version_by_its_numbers(rig: Rig) -> None:
    versions = {"nine": "1.9.0", "ten": "1.10.0"}
    write(
        rig,
        {name: entry(version=version) for name, version in versions.items()}
        | {"bad": entry(expect="rolled-back", version="2.0.0")},
    )
    assert newest_update(rig).name == "ten"
    write(rig, {"minor": entry(version="1.1.0"), "major": entry(version="2.0.0") | {"class": "major"}})
    assert newest_update(rig).name == "minor", "a major update may remove what testcases go by"
    write(rig, {"major": entry(version="2.0.0") | {"class": "major"}})
    assert newest_update(rig).name == "major"
    write(rig, {})
    with pytest.raises(UsageError, match="no update bundle that must be accepted"):
        newest_update(rig)


def test_a_bundle_declares_its_class_and_what_it_changes(rig: Rig) -> None:
    changes = {"adds": {"tcp ports of network": ["8443"]}}
    write(rig, {"good": entry() | {"class": "minor", "changes": changes}, "plain": entry()})
    bundles = load_bundles(rig)
    assert bundles["good"].update_class == "minor"
    assert changed({"tcp ports of network": frozenset({"22"})}, bundles["good"].changes) == {
        "tcp ports of network": frozenset({"22", "8443"})
    }
    assert (bundles["plain"].update_class, bundles["plain"].changes) == (None, {})


def test_what_changes_may_be_in_an_area_that_was_not_there() -> None:
    before = {"a": frozenset({"1", "2"})}
    changes = {"adds": {"b": frozenset({"3"})}, "removes": {"a": frozenset({"2"}), "c": frozenset({"4"})}}
    assert changed(before, changes) == {"a": frozenset({"1"}), "b": frozenset({"3"}), "c": frozenset()}


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ("1.0.0", "1.0.1", "patch"),
        ("1.0.9", "1.1.0", "minor"),
        ("1.9.9", "2.0.0", "major"),
        ("1.0.0", "1.0.0", None),
        ("1.0.0", "one", None),
    ],
)
def test_the_class_of_an_update_is_the_first_part_that_differs(
    rig: Rig, before: str, after: str, found: str | None
) -> None:
    [claim] = rig.device.claims_of(UpdateClaim).values()
    assert claim.class_of(before, after) == found


def test_a_class_is_a_group_of_the_rule(rig: Rig) -> None:
    [claim] = rig.device.claims_of(UpdateClaim).values()
    with pytest.raises(ValidationError, match="no group major, minor"):
        UpdateClaim.model_validate(claim.model_dump() | {"version_rule": r"1\.0\.(?P<patch>\d+)"})


def test_an_older_bundle_is_bad_only_where_the_claim_is_about_newer_ones(rig: Rig) -> None:
    write(
        rig,
        {"older": entry(expect="refused", detail="version"), "foreign": entry(expect="refused", detail="signature")},
    )
    refused = update_bundles("refused")
    assert [instance.values[1] for instance in refused(rig)] == ["older", "foreign"]
    device = rig.path.parent / "pump.yaml"
    device.write_text(device.read_text().replace("newer_only: true", "newer_only: false"))
    assert [instance.values[1] for instance in refused(load_rig(rig.path))] == ["foreign"]


@pytest.mark.parametrize(
    "change",
    [
        {"file": "../rig.yaml"},
        {"file": "/etc/hostname"},
        {"expect": "maybe"},
        {"sha256": "no"},
        {"more": 1},
        {"expect": "refused", "detail": "singature"},
        {"class": "tiny"},
        {"changes": {"moves": {}}},
        {"changes": {"adds": ["22"]}},
    ],
)
def test_an_index_that_is_none_is_named(rig: Rig, change: dict[str, object]) -> None:
    write(rig, {"good": entry(**change)})
    with pytest.raises(UsageError, match="not an index of bundles"):
        load_bundles(rig)


def test_what_is_missing_is_named(rig: Rig) -> None:
    with pytest.raises(UsageError, match="no index of bundles"):
        load_bundles(rig)
    write(rig, {"gone": entry(file="gone.raucb")})
    with pytest.raises(UsageError, match="'gone'"):
        load_bundles(rig)["gone"].read()


def test_a_rig_without_bundles_says_so(rig: Rig) -> None:
    rig.path.write_text(RIG.replace("bundles: bundles\n", ""))
    with pytest.raises(UsageError, match="has no update bundles"):
        load_bundles(load_rig(rig.path))


def test_the_code_on_the_label_is_among_the_secrets(rig: Rig) -> None:
    assert "label-code" in rig.secrets()
    assert "Summit-52-Lantern" in rig.secrets()
