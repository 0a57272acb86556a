"""Software update of the emulated syringe driver: good, bad and old images, trial and roll-back (SD200-ICD 4)."""

from __future__ import annotations

import json
import struct
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from syringe_device import BUILT, Syringe, bundle

FIXTURE = Path(__file__).parents[2] / "firmware-fixtures" / "syringe-driver"
INDEX = json.loads((BUILT / "bundles/index.json").read_text())


def named(expect: str) -> list[str]:
    return [name for name, about in INDEX.items() if about["expect"] == expect]


def version(syringe: Syringe) -> str:
    return syringe.accept("identify").values["version"]


@pytest.mark.parametrize("name", named("accepted"))
def test_a_good_image_is_installed_and_confirms_itself(syringe: Syringe, name: str) -> None:
    syringe.log_in("service")
    syringe.accept("set brightness 21")
    syringe.install(name)
    syringe.expect("console", b"update: trying -")
    syringe.expect("console", b"update: idle confirmed")
    assert version(syringe) == INDEX[name]["version"]
    assert ".".join(map(str, syringe.registers(4, 16, 3))) == INDEX[name]["version"]
    syringe.cut()
    syringe.power_on()
    assert version(syringe) == INDEX[name]["version"]
    syringe.log_in("service")
    assert "brightness=21" in syringe.accept("settings").items
    assert syringe.accept("fw-status").values["slot"] == "B"


@pytest.mark.parametrize("name", named("refused"))
def test_a_bad_image_is_refused_and_nothing_changes(syringe: Syringe, name: str) -> None:
    syringe.log_in("service")
    answer = syringe.upload(bundle(name))
    assert not answer.ok
    assert answer.reason == "update-refused"
    status = syringe.accept("fw-status").values
    assert (status["state"], status["detail"]) == ("refused", INDEX[name]["detail"])
    syringe.accept("restart")
    syringe.expect("console", b"SD-200 up")
    assert version(syringe) == "1.0.0"
    syringe.log_in("service")
    assert syringe.upload(bundle("good")).ok, "the twin is accepted"


@pytest.mark.parametrize("name", named("rolled-back"))
def test_an_image_that_does_not_confirm_itself_is_rolled_back(syringe: Syringe, name: str) -> None:
    syringe.log_in("service")
    syringe.install(name)
    syringe.expect("console", b"did not confirm itself: back to the slot before")
    syringe.expect("console", b"update: failed rolled-back")
    syringe.expect("console", b"SD-200 up")
    assert version(syringe) == "1.0.0"
    syringe.cut()
    syringe.power_on()
    assert version(syringe) == "1.0.0"


def test_signatures_of_every_length_are_looked_at_rightly(syringe: Syringe) -> None:
    key = load_pem_private_key((FIXTURE / "update-keys/maker.key").read_bytes(), password=None)
    assert isinstance(key, Ed25519PrivateKey)
    syringe.log_in("service")
    for length in range(1, 130):
        payload = bytes(range(length))
        header = struct.pack("<4sI16s4H32x", b"SD2F", length, b"SD-200", 0, 9, 0, 0)
        signature = key.sign(header + payload)
        for image, detail in ((signature, "version"), (signature[:-1] + bytes([signature[-1] ^ 1]), "signature")):
            assert syringe.upload(header + payload + image).reason == "update-refused"
            assert syringe.accept("fw-status").values["detail"] == detail, length


def test_after_an_update_the_version_before_is_refused(syringe: Syringe) -> None:
    syringe.log_in("service")
    syringe.install("good")
    syringe.expect("console", b"update: idle confirmed")
    syringe.log_in("service")
    assert syringe.upload(bundle("patch")).reason == "update-refused"
    assert syringe.accept("fw-status").values["detail"] == "version"


@pytest.mark.parametrize("after", [b"update: receiving", b"update: writing", b"update: ready"])
def test_a_power_cut_leaves_a_version_that_runs(syringe: Syringe, after: bytes) -> None:
    syringe.log_in("service")
    content = bundle("good")
    syringe.accept(f"fw-begin {len(content)}")
    for offset in range(0, len(content), 128):
        syringe.accept(f"fw-data {offset} {content[offset : offset + 128].hex().upper()}")
    if after != b"update: receiving":
        syringe.accept("fw-commit")
    syringe.expect("console", after)
    syringe.cut()
    syringe.power_on()
    assert version(syringe) == ("1.1.0" if after == b"update: ready" else "1.0.0")


def test_the_order_of_a_transfer(syringe: Syringe) -> None:
    syringe.log_in("service")
    assert syringe.refuse("fw-data 0 00") == "not-possible-now"
    assert syringe.refuse("fw-commit") == "not-possible-now"
    for wrong in ("0", "127", "24577", "-1", "x"):
        assert syringe.refuse(f"fw-begin {wrong}") == "bad-argument"
    syringe.accept("fw-begin 200")
    for wrong in ("1 00", "0 0", "0 GG", "0 0g", f"0 {'00' * 129}", "x 00"):
        assert syringe.refuse(f"fw-data {wrong}") == "bad-argument", wrong
    syringe.accept(f"fw-data 0 {'00' * 128}")
    assert syringe.refuse(f"fw-data 128 {'00' * 73}") == "bad-argument"
    assert syringe.refuse("fw-commit") == "not-possible-now"
    assert syringe.refuse("fw-begin 200") == "not-possible-now"
    syringe.accept("fw-abort")
    assert syringe.refuse("fw-abort") == "not-possible-now"


def test_a_transfer_that_stalls_is_given_up(syringe: Syringe) -> None:
    syringe.log_in("service")
    syringe.accept("fw-begin 5000")
    syringe.expect("console", b"update: failed transfer")


def test_therapy_goes_on_during_an_update(syringe: Syringe) -> None:
    syringe.log_in("service")
    before = syringe.spoken("status")
    assert syringe.upload(bundle("good")).ok
    syringe.expect("console", b"update: ready")
    samples = [before]
    while int(samples[-1]["seq"]) < int(syringe.accept("status").values["seq"]) - 1 or len(samples) < 5:
        samples.append(syringe.spoken("status"))
    assert all(float(each["flow"]) == pytest.approx(5.0, rel=0.05) for each in samples)


def test_a_device_without_an_image_stays_off(syringe: Syringe) -> None:
    syringe.cut()
    raw = syringe.folder / "raw"
    subprocess.run(["qemu-img", "convert", "-O", "raw", syringe.disk, raw], check=True)
    content = bytearray(raw.read_bytes())
    content[0x4000 + 5000] ^= 1
    raw.write_bytes(content)
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", raw, syringe.disk], check=True)
    syringe.power_on(until=b"FATAL: no slot holds an image to start\r\n")
    assert b"slot A refused: not signed by the maker" in syringe.told
    assert syringe.silent("vendor", seconds=0.5) == b""
