"""Variants of a device file: merged as JSON merge patch says, each mistake named in the file in which it stands."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from harness.errors import UsageError
from harness.rig.claims import LockoutClaim, PortsClaim, Status
from harness.rig.loading import load_device, load_rig, read_device
from harness.rig.variants import read_layers

ROOT = Path(__file__).parents[2]
PUMP = ROOT / "rigs/devices/infusion-pump.yaml"


@pytest.fixture
def devices(tmp_path: Path) -> Path:
    """A folder with the pump's device file."""
    shutil.copy(PUMP, tmp_path / "pump.yaml")
    return tmp_path


def variant(folder: Path, text: str, *, name: str = "variant.yaml", base: str = "pump.yaml") -> Path:
    path = folder / name
    path.write_text(f"base: {base}\n{text}", encoding="utf-8")
    return path


# Merging

KEYS = st.sampled_from(["a", "b", "c", "d"])
TREES = st.recursive(
    st.integers() | st.booleans() | st.text(max_size=3) | st.lists(st.integers() | st.none(), max_size=3),
    lambda inner: st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
MAPPINGS = st.dictionaries(KEYS, TREES, max_size=4)


@st.composite
def patches(draw: st.DrawFn, base: Mapping[str, Any]) -> dict[str, Any]:
    """A patch whose every null removes something."""
    patch: dict[str, Any] = {}
    for key in draw(st.sets(KEYS)):
        below = base.get(key)
        choices = [TREES]
        if key in base:
            choices.append(st.none())
        if isinstance(below, dict):
            choices.append(patches(below))
        patch[key] = draw(st.one_of(*choices))
    return patch


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7396, section 2, as it is written there."""
    if not isinstance(patch, dict):
        return patch
    target = copy.deepcopy(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            target.pop(name, None)
        else:
            target[name] = merge_patch(target.get(name), value)
    return target


def write(path: Path, tree: Mapping[str, Any]) -> Path:
    with path.open("w", encoding="utf-8") as file:
        YAML(typ="safe").dump(dict(tree), file)
    return path


def plain(tree: Any) -> Any:
    return json.loads(json.dumps(tree))


@given(data=st.data())
def test_merging_is_json_merge_patch(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("merge")
    base = data.draw(MAPPINGS.filter(bool))
    middle = data.draw(patches(base))
    between = merge_patch(base, middle)
    top = data.draw(patches(between))
    write(folder / "base.yaml", base)
    write(folder / "middle.yaml", {"base": "base.yaml", **middle})
    path = write(folder / "top.yaml", {"base": "middle.yaml", **top})
    merged = plain(read_layers(path, variants=True).merged)
    assert merged.pop("base") == "middle.yaml"
    assert merged == merge_patch(between, top)


def test_lists_are_replaced_mappings_merged_and_null_removes(devices: Path) -> None:
    path = variant(
        devices,
        "device: pump-lite\n"
        "links: [console, ssh, https, can, modbus-tcp, modbus-rtu, network]\n"
        "claims:\n"
        "  LOCKOUT: {threshold: 5}\n"
        "  PORTS: {tcp: [22, 502]}\n"
        "  SSH-POLICY: null\n",
    )
    device, _ = load_device(path)
    whole, _ = load_device(devices / "pump.yaml")
    assert device.device == "pump-lite"
    assert set(whole.claims) - set(device.claims) == {"SSH-POLICY"}
    lockout, ports = device.claims["LOCKOUT"], device.claims["PORTS"]
    assert isinstance(lockout, LockoutClaim)
    assert isinstance(ports, PortsClaim)
    assert (lockout.threshold, lockout.scope) == (5, "account")
    assert ports.tcp == (22, 502)
    assert device.surfaces == whole.surfaces


def test_who_approved_the_base_did_not_approve_what_differs(devices: Path) -> None:
    device, _ = load_device(
        variant(devices, "claims:\n  LOCKOUT: {threshold: 5}\n  UDS-SERVICES: {status: approved}\n")
    )
    assert device.claims["LOCKOUT"].status is Status.PROPOSED
    assert device.claims["UDS-SERVICES"].status is Status.APPROVED
    assert device.claims["PORTS"].status is Status.APPROVED


def test_what_a_scan_wrote_stays_observed_in_a_variant(devices: Path) -> None:
    text = (devices / "pump.yaml").read_text().replace("status: approved", "status: observed")
    (devices / "pump.yaml").write_text(text)
    device, _ = load_device(variant(devices, "claims:\n  LOCKOUT: {threshold: 5}\n"))
    assert device.claims["LOCKOUT"].status is Status.OBSERVED


# Mistakes


def line_of(path: Path, text: str) -> int:
    return next(number for number, line in enumerate(path.read_text().splitlines(), 1) if text in line)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("claims:\n  LOCKOUT: {threshold: many}\n", 3, "claims.LOCKOUT.threshold"),
        ("claims:\n  LOKOUT: null\n", 3, "null removes a key of the base"),
        ("claims:\n  LOCKOUT:\n    scope: null\n", 3, "'scope' is missing"),
        ("colour: red\n", 2, "unknown key 'colour'"),
        ("claims:\n  lockout: {type: lockout}\n", 3, "claims.lockout"),
        ("surfaces:\n  console:\n    link: consol\n", 4, "no link named 'consol'"),
        ("identity: smoke-signals\n", 2, "no surface named 'smoke-signals'"),
        ("model: '${env:NO_SUCH_VARIABLE_HERE}'\n", 2, "NO_SUCH_VARIABLE_HERE"),
    ],
)
def test_a_mistake_of_the_variant_is_named_there(devices: Path, text: str, line: int, words: str) -> None:
    path = variant(devices, text)
    with pytest.raises(UsageError) as caught:
        load_device(path)
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert words in str(caught.value)


def test_a_mistake_of_the_base_is_named_there(devices: Path) -> None:
    pump = devices / "pump.yaml"
    pump.write_text(pump.read_text().replace("threshold: 3", "threshold: many"))
    with pytest.raises(UsageError) as caught:
        load_device(variant(devices, "claims:\n  LOCKOUT: {release: 20}\n"))
    assert str(caught.value).startswith(f"{pump}:{line_of(pump, 'threshold: many')}: claims.LOCKOUT.threshold")


@pytest.mark.parametrize(
    ("base", "words"),
    [
        ("none.yaml", "base 'none.yaml' does not exist"),
        ("variant.yaml", "variant.yaml → variant.yaml"),
        ("other.yaml", "variant.yaml → other.yaml → variant.yaml"),
        ("../{}", "does not exist"),
        ("[pump.yaml]", "is no path of a file"),
        ("'a\\0b'", "does not exist"),
        ('"a\\0b"', "is no path of a file"),
        ("null", "is no path of a file"),
        ("'.'", "does not exist"),
    ],
)
def test_bases_that_lead_nowhere(devices: Path, base: str, words: str) -> None:
    path = variant(devices, "", base=base)
    variant(devices, "", name="other.yaml", base="./variant.yaml")
    with pytest.raises(UsageError) as caught:
        load_device(path)
    assert words in str(caught.value)
    assert ": base" in str(caught.value)


def test_a_rig_file_has_no_base(devices: Path) -> None:
    path = devices / "rig.yaml"
    path.write_text("base: pump.yaml\nrig: r\ndevice: pump.yaml\nitem: {serial: S, grade: emulated}\nlinks: {}\n")
    with pytest.raises(UsageError, match=r"rig\.yaml:1: base: unknown key 'base'"):
        load_rig(path)


# The record


def test_the_hashes_tell_every_file_and_what_they_say_together(devices: Path) -> None:
    path = variant(devices, "claims:\n  LOCKOUT: {threshold: 5}\n")
    before = read_device(path)
    assert [source.path.name for source in before.files] == ["variant.yaml", "pump.yaml"]
    pump = devices / "pump.yaml"
    pump.write_text(pump.read_text().replace("release: 15", "release: 16") + "# a remark\n")
    after = read_device(path)
    assert [one.sha256 == other.sha256 for one, other in zip(before.files, after.files, strict=True)] == [True, False]
    assert after.merged_sha256 != before.merged_sha256
    path.write_text(path.read_text() + "# another\n")
    assert read_device(path).merged_sha256 == after.merged_sha256
    assert read_device(path).files[0].sha256 != after.files[0].sha256
