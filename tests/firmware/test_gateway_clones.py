"""The emulated bedside gateway under the harness's control: its weaknesses, its description, its bundles."""

from __future__ import annotations

import hashlib
import json
import re
import socket
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.control import agent
from harness.control.holder import Holder
from harness.control.machine import load_machine
from harness.control.qemu import QemuControl
from harness.control.template import TemplateStore
from harness.qualify.weaknesses import load_weaknesses

sys.path.insert(0, str(Path(__file__).parents[1] / "control"))
from prompt_settles import PromptSettles  # noqa: E402 - found by the line above

ROOT = Path(__file__).parents[2]
FIXTURE = ROOT / "firmware-fixtures/bedside-gateway"
BUILT = ROOT / ".build/bedside-gateway"
WEAKNESSES = frozenset({"default-password", "mqtt-in-clear"})
UP_S = 120.0


@pytest.fixture
def control(tmp_path: Path) -> Iterator[QemuControl]:
    control = QemuControl(
        load_machine(BUILT / "device.json", weaknesses=WEAKNESSES),
        holder=Holder(),
        templates=TemplateStore(tmp_path / "templates"),
        log=tmp_path / "qemu.log",
        settle=PromptSettles("console", b"BG-4 up", within_s=UP_S),
    )
    yield control
    control.close()
    control.holder.close()


def test_clones_say_which_weaknesses_they_have(control: QemuControl) -> None:
    for _ in range(2):
        assert control.restore().weaknesses == WEAKNESSES


def test_a_clock_that_is_set_turns_nobody_away(control: QemuControl, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clone of a state that was saved hours ago has its clock set by hours: the web server is not to restart."""
    control.restore()
    monkeypatch.setattr(agent, "_clock", lambda: f"clock {time.time() + 7200:.0f}")
    control.agent().set_clock()
    until = time.monotonic() + 4
    while time.monotonic() < until:
        (link,) = control.holder.sockets(1, socket.AF_INET, socket.SOCK_STREAM)
        with link:
            link.settimeout(2)
            link.connect(("192.0.2.10", 443))


def test_every_weakness_has_its_place_in_firmware_and_specification() -> None:
    names = [each.name for each in load_weaknesses(FIXTURE / "weaknesses.yaml")]
    folders = (FIXTURE / "src", FIXTURE / "rootfs/etc/init.d", FIXTURE / "rootfs/usr/sbin")
    text = "\n".join(file.read_text() for folder in folders for file in folder.iterdir())
    asked = re.findall(r'weak(?:\("| )([a-z0-9-]+)', text)
    assert sorted(set(asked)) == sorted(names)
    specified = re.findall(r"(?m)^\| `([a-z0-9-]+)` \| [\d.]+ \|", (FIXTURE / "INTERFACES.md").read_text())
    assert specified == names
    assert list(json.loads((BUILT / "device.json").read_text())["weaknesses"]) == names


def test_bundles_are_what_their_names_say() -> None:
    index = json.loads((BUILT / "bundles/index.json").read_text())
    for name, each in index.items():
        content = (BUILT / "bundles" / each["file"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == each["sha256"]
        with tarfile.open(BUILT / "bundles" / each["file"]) as tar:
            names = tar.getnames()
            read = {member: tar.extractfile(member).read() for member in names}
        assert ("InRelease" in names) == (name != "unsigned")
        package = next(member for member in names if member.endswith(".deb"))
        listed = read["main/binary-amd64/Packages"].decode()
        whole = hashlib.sha256(read[package]).hexdigest() in listed
        assert whole == (name != "tampered-package")
        assert f"Version: {each['version']}\n" in listed
    assert {each["expect"] for each in index.values()} == {"accepted", "refused", "rolled-back"}
