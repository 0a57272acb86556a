"""The emulated pump under control: clones, weaknesses, power cuts, events, and nothing left behind."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import select
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from prompt_settles import PromptSettles
from pump_console import Console

from harness.control.base import Capability, Deadline, EventKind
from harness.control.machine import MachineFiles, QemuMachine, load_machine
from harness.control.qemu import QemuControl
from harness.control.template import TemplateStore
from harness.errors import ControlFault, UsageError

Device = Callable[..., QemuControl]
ROOT = Path(__file__).parents[2]
PUMP = ROOT / ".build" / "infusion-pump" / "device.json"


def banner(control: QemuControl, address: str = "192.0.2.10") -> bytes:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    (link,) = control.holder.sockets(1, family, socket.SOCK_STREAM)
    with link:
        link.settimeout(10)
        link.connect((address, 22))
        return link.recv(100)


def eventually(condition: Callable[[], bool], *, timeout: float = 5.0) -> bool:
    deadline = Deadline(timeout)
    while not condition():
        if not deadline.left():
            return False
        select.select([], [], [], 0.01)
    return True


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_a_clone_is_the_baseline_again(device: Device, tmp_path: Path) -> None:
    control = device()
    control.restore()
    with Console(control) as console:
        console.log_in()
        assert b"ok" in console.command(b"stop")
        assert b"state: idle" in console.command(b"status")
    control.holder.capture_on(tmp_path / "net.pcapng")
    report = control.restore()
    assert report.method == "clone"
    assert report.weaknesses == frozenset()
    assert report.template
    assert banner(control).startswith(b"SSH-2.0-")
    assert banner(control, "2001:db8::10").startswith(b"SSH-2.0-")
    capture = control.holder.capture_off()
    assert capture.dropped == 0
    frames = capture.file.read_bytes()
    assert frames.count(b"SSH-2.0-") >= 2
    assert b"\x80\x35\x00\x01" not in frames, "a RARP announcement, which is the emulator's, not the device's"
    with Console(control) as console:
        console.log_in()
        assert b"state: infusing" in console.command(b"status")
    assert all(event.asked for event in control.events)


def test_clones_are_independent_of_each_other(device: Device) -> None:
    first, second = device(), device()
    first.restore()
    second.restore()
    with Console(first) as console:
        console.log_in()
        console.command(b"stop")
    with Console(second) as console:
        console.log_in()
        assert b"state: infusing" in console.command(b"status")
    first.cut()
    assert banner(second).startswith(b"SSH-2.0-")


def test_a_template_is_used_again(device: Device, store: TemplateStore) -> None:
    control = device()
    control.restore()
    made = {each: each.stat().st_mtime_ns for each in store.folder.rglob("*") if each.is_file()}
    seconds = []
    for _ in range(5):
        begin = time.monotonic()
        control.restore()
        banner(control)
        seconds.append(time.monotonic() - begin)
    assert statistics.median(seconds) < 1.5, "a clone, not a boot"
    again = device()
    again.restore()
    assert {each: each.stat().st_mtime_ns for each in store.folder.rglob("*") if each.is_file()} == made


def test_links_are_connected_before_the_first_instruction(device: Device) -> None:
    control = device(settles=False)
    consoles: list[Console] = []
    control.before_run = lambda: consoles.append(Console(control))
    with pytest.raises(ControlFault, match="no link 'modem'"):
        control.chardev("modem")
    control.power_on()
    with consoles[-1] as console:
        assert console.expect(b"U-Boot").lstrip() == b"U-Boot"
    control.power_off()
    assert not control.alive()
    control.power_off()
    report = control.restore()
    assert report.method == "boot"
    with consoles[-1] as console:
        assert console.expect(b"U-Boot").lstrip() == b"U-Boot"
    assert len(consoles) == 2


def test_weaknesses_are_read_back(device: Device, store: TemplateStore, tmp_path: Path) -> None:
    weak = device("no-lockout", "can-no-auth")
    report = weak.restore()
    assert report.weaknesses == frozenset({"no-lockout", "can-no-auth"})
    # the same template under the key of a device without weaknesses: a store gone wrong
    wrong = TemplateStore(tmp_path / "wrong")
    hardened = device(templates=wrong)
    assert report.template is not None
    assert report.template != wrong.key(hardened.machine)
    (wrong.folder / wrong.key(hardened.machine)).symlink_to(store.folder / report.template)
    with pytest.raises(ControlFault, match=r"has the weaknesses \['can-no-auth', 'no-lockout'\], asked for were \[\]"):
        hardened.restore()


def test_a_power_cut_keeps_the_disk_and_a_reset_boots(device: Device) -> None:
    control = device()
    control.restore()
    with Console(control) as console:
        console.log_in()
        console.command(b"rate 77.0")
    control.agent().sync()
    with pytest.raises(ControlFault, match="without power"):
        control.storage()
    control.cut()
    assert not control.alive()
    with pytest.raises(ControlFault, match="without power"):
        control.reset()
    assert b"event=rate" in control.storage().read_bytes()  # of the audit log
    PromptSettles("console", b"login: ", within_s=30)(_paused(control))
    with Console(control) as console:
        console.log_in()
        assert b"set_rate: 77.0" in console.command(b"status")
        before = len(control.events)
        control.reset()
        event = control.wait_event(EventKind.RESET, timeout=5, after=before)
        assert event is not None
        assert event.asked
        console.expect(b"U-Boot")


def test_a_flush_as_the_application_starts_harms_no_record(device: Device) -> None:
    control = device(settles=False)
    consoles: list[Console] = []
    control.before_run = lambda: consoles.append(Console(control))
    control.power_on()

    def flush_early() -> bool:
        with contextlib.suppress(ControlFault):  # the agent is up before the application
            control.agent().ping()  # else the answer to an early request is taken for that to a later one
            control.agent().sync()
            return True
        return False

    with ThreadPoolExecutor() as other, consoles[-1] as console:
        flushed = other.submit(eventually, flush_early, timeout=60)
        console.expect(b"login: ", timeout=60)
        assert flushed.result()
        console.log_in()
        console.command(b"rate 77.0")
    control.agent().sync()
    control.cut()
    assert b"event=rate" in control.storage().read_bytes()


def test_a_clone_that_is_reset_boots(device: Device) -> None:
    control = device()
    control.restore()
    with Console(control) as console:
        control.reset()
        console.expect(b"U-Boot")
    assert control.alive()


def test_a_break_reaches_the_kernel_of_a_weak_device_only(device: Device) -> None:
    for weaknesses, comes in ((("sysrq-on-break",), True), ((), False)):
        control = device(*weaknesses)
        control.restore()
        with Console(control) as console:
            console.log_in()
            before = len(control.events)
            control.send_break("console")
            console.send(b"b")
            event = control.wait_event(EventKind.RESET, timeout=5 if comes else 1, after=before)
            assert (event is not None and not event.asked) is comes


def test_after_a_reset_the_adapter_hears_what_the_pump_says(device: Device) -> None:
    """QEMU's CAN controllers keep half of their state over a reset: `bench_fifo.c`."""
    control = device()
    control.restore()
    before = _can_ids(control, frames=10)
    with Console(control) as console:
        control.reset()
        console.expect(b"login: ", timeout=60)
    assert before == _can_ids(control, frames=40) == {"100", "101", "102"}


def _can_ids(control: QemuControl, *, frames: int) -> set[str]:
    """Identifiers of the next frames on the bus, as the adapter tells them."""
    said, deadline = b"", Deadline(20)
    with socket.socket(socket.AF_UNIX) as adapter:
        adapter.connect(control.chardev("can").removeprefix("unix:"))
        for words, answer in ((b"< hi >", b"< hi >"), (b"< open can1 >", b"< ok >"), (b"< rawmode >", b"< frame ")):
            adapter.sendall(words)
            while answer not in said:
                assert select.select([adapter], [], [], deadline.left())[0], f"no {answer!r} in {said!r}"
                said += adapter.recv(4096)
        while said.count(b"< frame ") < frames:
            assert select.select([adapter], [], [], deadline.left())[0], f"too few frames: {said!r}"
            said += adapter.recv(4096)
    return set(re.findall(r"< frame (\w+) ", said.decode()))


def _paused(control: QemuControl) -> QemuControl:
    control.prepare()
    assert control.alive()
    return control


def test_unasked_events(device: Device) -> None:
    control = device("bootloader-prompt", settles=False)
    control.prepare()
    with Console(control) as console:
        control.power_on()
        console.expect(b"Hit any key")
        console.send(b" ")
        console.expect(b"=> ")
        console.send(b"reset\r")
        reset = control.wait_event(EventKind.RESET, timeout=10)
        console.expect(b"Hit any key")
        console.send(b" ")
        console.expect(b"=> ")
        console.send(b"poweroff\r")
        shutdown = control.wait_event(EventKind.SHUTDOWN, timeout=10)
    assert reset is not None
    assert not reset.asked
    assert shutdown is not None
    assert not shutdown.asked
    assert not control.alive()
    control.power_on()
    assert control.alive()


def test_a_dead_emulator_is_an_event_and_comes_back(device: Device) -> None:
    control = device()
    control.restore()
    for pid in _emulators(control):
        os.kill(pid, signal.SIGKILL)
    assert control.wait_event(EventKind.DIED, timeout=5) is not None
    assert not control.alive()
    assert [(event.kind, event.asked) for event in control.events][-1:] == [(EventKind.DIED, False)]
    control.restore()
    assert banner(control).startswith(b"SSH-2.0-")
    assert [event.kind for event in control.events].count(EventKind.DIED) == 1
    control.close()
    control.close()


def _emulators(control: QemuControl) -> list[int]:
    """The pids of the QEMU processes that work in this control's folder."""
    found = []
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(control.run_dir).encode() in each.read_bytes():
                found.append(int(each.parent.name))
        except OSError:
            continue
    assert found
    return found


_VICTIM = """
import sys
from pathlib import Path
from harness.control.holder import Holder
from harness.control.machine import load_machine
from harness.control.qemu import QemuControl
from harness.control.template import TemplateStore
folder = Path(sys.argv[1])
def settle(control):
    control.power_on()
    print(control.holder.pid, control._process.pid, control.holder.scratch, flush=True)
    sys.stdin.read()
store = TemplateStore(folder / "store")
machine = load_machine(Path(sys.argv[2]))
print(store.key(machine), flush=True)
QemuControl(machine, holder=Holder(), templates=store, log=folder / "log", settle=settle).restore()
"""


def test_killing_the_harness_while_it_makes_a_template_leaves_nothing(tmp_path: Path) -> None:
    victim = subprocess.Popen(
        [sys.executable, "-c", _VICTIM, str(tmp_path), str(PUMP)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    with victim:
        assert victim.stdout is not None
        key = victim.stdout.readline().decode().strip()
        holder, emulator, scratch = victim.stdout.readline().decode().split()
        namespace = Path(f"/proc/{emulator}/ns/net").readlink()
        assert not gone(int(emulator))
        victim.kill()
    assert eventually(lambda: gone(int(holder)) and gone(int(emulator)))
    assert eventually(lambda: not Path(scratch).exists())
    left = [each for each in Path("/proc").glob("[0-9]*/ns/net") if _link(each) == namespace]
    assert left == []
    store = TemplateStore(tmp_path / "store")
    assert store.find(key) is None
    with (store.folder / f"{key}.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _link(path: Path) -> Path | None:
    try:
        return path.readlink()
    except OSError:
        return None


def test_a_device_that_does_not_come_up(device: Device) -> None:
    control = device("uds-constant-seed")
    control._settle = PromptSettles("console", b"never printed", within_s=0.5)
    with pytest.raises(ControlFault, match="within 0.5 s of power-on"):
        control.restore()
    assert not control.alive()


def test_what_is_missing_is_named_before_anything_starts(tmp_path: Path, device: Device) -> None:
    with pytest.raises(ControlFault, match="make firmware"):
        load_machine(tmp_path / "device.json")
    machine = QemuMachine("qemu-system-nothing", (), 64)
    with pytest.raises(ControlFault, match="apt-get install"):
        machine.check()
    machine = QemuMachine("qemu-system-aarch64", (), 64, images={"disk": tmp_path / "disk.qcow2"})
    with pytest.raises(ControlFault, match="disk.qcow2 is not there"):
        machine.check()
    machine = QemuMachine("qemu-system-aarch64", ("-bios", "{boot_rom}"), 64)
    with pytest.raises(UsageError, match="boot_rom"):
        machine.check()
    assert device().capabilities == set(Capability)


def test_a_description_gives_each_weakness_its_bit_and_its_files(tmp_path: Path) -> None:
    description = tmp_path / "device.json"
    made: dict[str, object] = {
        "schema": 2, "device": "toy", "qemu": "qemu-system-arm", "machine": ["-M", "none"], "memory_mb": 16,
        "arguments": ["-device", "loader,data={weakness_mask}", "-bios", "{rom}"],
        "files": {"rom": "good.bin"},
        "weaknesses": {
            "first": {"bit": 0}, "fourth": {"bit": 3}, "flashed": {"files": {"rom": "bad.bin"}}, "plain": {},
        },
    }  # fmt: skip
    description.write_text(json.dumps(made))
    machine = load_machine(description, weaknesses=frozenset({"first", "fourth", "flashed", "plain"}))
    assert (machine.weakness_mask, machine.images["rom"].name) == (9, "bad.bin")
    line = machine.command_line(MachineFiles(run_dir=tmp_path, images=machine.images))
    assert "loader,data=9" in line
    assert "-netdev" not in line, "a device without network gets none"
    assert load_machine(description).images["rom"].name == "good.bin"
    with pytest.raises(UsageError, match="no weakness 'fist'") as caught:
        load_machine(description, weaknesses=frozenset({"fist", "plain"}))
    assert "first, fourth, flashed, plain" in caught.value.hint
    description.write_text(json.dumps({**made, "schema": 1}))
    with pytest.raises(UsageError, match="schema: Input should be 2"):
        load_machine(description)


def test_an_emulator_that_cannot_start_says_why(device: Device) -> None:
    control = device(settles=False)
    broken = control.machine
    control.machine = QemuMachine(
        broken.binary, (*broken.args, "-device", "no-such-device"), broken.memory_mib, images=broken.images
    )
    with pytest.raises(ControlFault, match="no-such-device"):
        control.power_on()
    assert not control.alive()
