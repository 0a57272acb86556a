"""The template store: made once, whole or not at all."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from harness.control.machine import QemuMachine
from harness.control.template import Template, TemplateStore, create_overlay
from harness.errors import ControlFault


@pytest.fixture
def machine(tmp_path: Path) -> QemuMachine:
    image = tmp_path / "disk.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(image), "3M"], check=True)
    return QemuMachine("qemu-system-aarch64", ("-M", "virt"), 64, images={"disk": image})


def fill(template: Template) -> None:
    template.ram.write_bytes(b"memory")
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(template.disk), "3M"], check=True)


def test_made_once(tmp_path: Path) -> None:
    store = TemplateStore(tmp_path / "store")
    made, new = store.get_or_make("key", fill)
    again, new_again = store.get_or_make("key", lambda _: pytest.fail("made twice"))
    assert (new, new_again, again) == (True, False, made)
    assert made.ram.read_bytes() == b"memory"
    told = subprocess.run(
        ["qemu-img", "info", "--output=json", str(made.overlay)], capture_output=True, check=True
    ).stdout
    assert json.loads(told)["full-backing-filename"] == str(made.disk)
    assert json.loads(told)["virtual-size"] == 3 * 1024 * 1024


def test_a_half_made_template_is_never_used(tmp_path: Path) -> None:
    store = TemplateStore(tmp_path)
    partial = tmp_path / "key.partial"
    partial.mkdir()
    (partial / "left by one who died").touch()
    assert store.find("key") is None

    def fail(template: Template) -> None:
        template.ram.write_bytes(b"half")
        raise ControlFault("the device did not come up")

    with pytest.raises(ControlFault, match="did not come up"):
        store.get_or_make("key", fail)
    assert store.find("key") is None
    assert not partial.exists()
    made, _ = store.get_or_make("key", fill)
    assert sorted(each.name for each in made.folder.iterdir()) == ["disk.qcow2", "overlay.qcow2", "ram"]


def test_one_maker_at_a_time(tmp_path: Path) -> None:
    store = TemplateStore(tmp_path)
    with (tmp_path / "key.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ControlFault, match="another process"):
            store.get_or_make("key", fill, timeout=0.2)
    assert store.get_or_make("key", fill)[1]


def test_the_key_depends_on_everything_that_a_state_depends_on(machine: QemuMachine, tmp_path: Path) -> None:
    store = TemplateStore(tmp_path / "store")
    key = store.key(machine)
    assert store.key(replace(machine, images=dict(machine.images))) == key
    changed = [
        replace(machine, args=("-M", "virt", "-cpu", "cortex-a53")),
        replace(machine, memory_mib=128),
        replace(machine, weaknesses=frozenset({"no-lockout"})),
        replace(machine, accel="kvm"),
    ]
    keys = {key, *(store.key(each) for each in changed)}
    image = machine.images["disk"]
    kept = store.images(machine)["disk"].read_bytes()
    about = image.stat()
    image.write_bytes(kept[:-1] + b"x")
    os.utime(image, ns=(about.st_atime_ns, about.st_mtime_ns))
    keys.add(store.key(machine))
    assert len(keys) == len(changed) + 2
    assert store.images(machine)["disk"].read_bytes() != kept


def test_images_survive_a_rebuild(machine: QemuMachine, tmp_path: Path) -> None:
    store = TemplateStore(tmp_path / "store")
    copy = store.images(machine)["disk"]
    before = copy.read_bytes()
    machine.images["disk"].write_bytes(b"rebuilt")
    assert copy.read_bytes() == before


def test_an_overlay_of_nothing_is_a_control_fault(tmp_path: Path) -> None:
    with pytest.raises(ControlFault, match="nowhere"):
        create_overlay(tmp_path / "overlay.qcow2", backing=tmp_path / "nowhere.qcow2")
