"""Control of a device emulated by QEMU: power, reset, and a baseline that comes back by cloning."""

from __future__ import annotations

import contextlib
import select
import shutil
import socket
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from harness.control import qmp
from harness.control.agent import BenchAgent
from harness.control.base import Capability, ControlEvent, EventKind, EventLog, RestoreReport, StepClock
from harness.control.holder import DeviceProcess, Holder
from harness.control.machine import MachineFiles, QemuMachine, Ram
from harness.control.qmp import QmpSession
from harness.control.template import Template, TemplateStore, create_overlay, to_raw
from harness.errors import ControlFault

__all__ = ["QemuControl", "Settle"]

_START_S = 20.0
_COMMAND_S = 10.0
_STATE_S = 60.0
_RUN_ON_S = 0.3

Settle = Callable[["QemuControl"], None]
"""Makes a paused device into one worth keeping: opens what it needs, calls `power_on`, waits until the
device is up, closes what it opened. Raises ControlFault when it does not come up."""


class QemuControl:
    """One emulated device in a holder's network.

    The first `power_on` boots cold from the machine's image; `restore` clones the saved state of a device
    that `settle` has declared up (made once, kept in `templates`), or without `settle` boots cold on a fresh
    disk. `cut` and `power_on` keep the disk, as a power cut does.

    `before_run` is called whenever a new device exists and has not yet run an instruction: links connect
    there, so that they see the first byte. The caller may instead call `prepare`, connect, `power_on`.

    Raises:
        ControlFault: QEMU or an image is missing (named with what to install or build).
        UsageError: the machine's description contradicts itself.
    """

    def __init__(
        self,
        machine: QemuMachine,
        *,
        holder: Holder,
        templates: TemplateStore,
        log: Path,
        settle: Settle | None = None,
        before_run: Callable[[], None] | None = None,
    ) -> None:
        machine.check()
        self.machine = machine
        self.holder = holder
        self.before_run = before_run
        self._templates = templates
        self._settle = settle
        self._log = log
        self._events = EventLog()
        self._key: str | None = None
        self._process: DeviceProcess | None = None
        self._qmp: QmpSession | None = None
        self._agent: BenchAgent | None = None
        self._running = False
        self._halted = False
        self._stop_asked = False
        self._ending = False
        self._ending_lock = threading.Lock()
        self.run_dir = holder.scratch / "qemu"
        self.run_dir.mkdir(exist_ok=True)
        self._disk = self.run_dir / "disk.qcow2"

    @property
    def capabilities(self) -> frozenset[Capability]:
        """All of them."""
        return frozenset(Capability)

    @property
    def events(self) -> tuple[ControlEvent, ...]:
        """What the machine did, asked and unasked."""
        self._notice_death()
        return self._events.all()

    @property
    def pid(self) -> int | None:
        """The emulator's process, None while the device has no power."""
        return self._process.pid if self._process is not None else None

    def wait_event(self, kind: EventKind, *, timeout: float, after: int = 0) -> ControlEvent | None:
        """The first event of `kind` past the `after` first ones; None when none comes in time."""
        return self._events.wait(kind, timeout=timeout, after=after)

    def chardev(self, name: str) -> str:
        """The URL of a link's socket; the same for every QEMU process of this control.

        Raises:
            ControlFault: the machine has no such link.
        """
        if name not in self.machine.links:
            raise ControlFault(f"the machine has no link {name!r}, only {list(self.machine.links)}")
        return f"unix:{self.run_dir / name}"

    def send_break(self, name: str) -> None:
        """Let the device's UART behind the link `name` see a break: no byte can say so over a character device.

        Raises:
            ControlFault: the device has no power.
        """
        self._command("chardev-send-break", {"id": name})

    def prepare(self) -> None:
        """Make the device, its links ready to be connected, before its first instruction; cold."""
        if self.alive():
            return
        self._discard()
        if self.machine.disk is not None and not self._disk.exists():
            self._fresh_disk(self._disk)
        self._spawn(MachineFiles(run_dir=self.run_dir, images=self._images(self._disk)))

    def power_on(self) -> None:
        """Let the device run (made cold by `prepare` if need be); nothing when it runs already."""
        if self._running and self.alive():
            return
        if self._process is None or not self.alive():
            self.prepare()
        if self.before_run is not None:
            self.before_run()
        self._continue()

    def power_off(self) -> None:
        """Power off with the disk image flushed. Harmless when it is off."""
        if not self.alive():
            self.cut()
            return
        self._quit()

    def cut(self) -> None:
        """SIGKILL: what the guest had not flushed is lost. Harmless when it is off."""
        if self._process is not None and self._process.alive():
            self._events.add(EventKind.SHUTDOWN, asked=True, detail="power cut")
        self._discard()

    def reset(self) -> None:
        """The board's reset line.

        Raises:
            ControlFault: the device has no power.
        """
        if not self.alive():
            raise ControlFault("a device without power cannot be reset", hint="power_on first")
        self._command("system_reset")

    def restore(self) -> RestoreReport:
        """Back to the baseline, running: a clone of the template (made at the first call, by a cold boot).

        Raises:
            ControlFault: the template cannot be made, the clone does not start, or its weaknesses are not
                those that were asked for.
        """
        steps = StepClock()
        if self._settle is None:
            self._discard()
            self._disk.unlink(missing_ok=True)
            steps.done("kill")
            self.power_on()
            steps.done("start")
            return RestoreReport(method="boot", seconds=steps.total(), steps=steps.taken)
        template = self._template()
        steps.done("template")
        self._discard()
        steps.done("kill")
        if self.machine.disk is not None:
            shutil.copyfile(template.overlay, self._disk)
        images = self._images(self._disk)
        self._spawn(
            MachineFiles(run_dir=self.run_dir, images=images, ram=Ram.PRIVATE, ram_file=template.ram, incoming=True)
        )
        steps.done("spawn")
        with template.state.open("rb") as state:
            self._migrate("migrate-incoming", state.fileno())
        steps.done("load")
        if self.before_run is not None:
            self.before_run()
        if self.machine.agent is not None:
            self.agent()
        steps.done("links")
        self._continue()
        steps.done("continue")
        weaknesses = self._refresh()
        steps.done("agent")
        return RestoreReport(
            method="clone",
            seconds=steps.total(),
            steps=steps.taken,
            template=template.key,
            weaknesses=weaknesses,
        )

    def storage(self) -> Path:
        """The disk as the device left it, raw, holes where nothing was ever written.

        Raises:
            ControlFault: the device has power, or no disk.
        """
        if self._process is not None and self._process.alive():
            raise ControlFault("the storage is read out of a device without power", hint="power_off first")
        if not self._disk.exists():
            raise ControlFault("this machine has no disk, or had no power yet")
        image = self.run_dir / "storage.raw"
        to_raw(self._disk, image)
        return image

    def alive(self) -> bool:
        """True while the emulator runs and the guest has not switched itself off."""
        process = self._process
        return process is not None and process.alive() and not self._halted

    def disk_written(self) -> int:
        """How many bytes this QEMU process has written to the device's disk for it.

        Raises:
            ControlFault: the device has no power.
        """
        return sum(int(drive["stats"]["wr_bytes"]) for drive in self._command("query-blockstats"))

    def agent(self) -> BenchAgent:
        """The connection to the bench agent; opened when first asked for.

        Raises:
            ControlFault: the machine has none, or the device has no power.
        """
        if self.machine.agent is None:
            raise ControlFault("this machine has no bench agent")
        if self._agent is None:
            self._agent = BenchAgent(self.run_dir / self.machine.agent)
        return self._agent

    def close(self) -> None:
        """End the emulator; the holder stays, it is the caller's."""
        if self.holder.alive():
            self._discard()
        elif self._qmp is not None:
            self._qmp.close()
        shutil.rmtree(self.run_dir, ignore_errors=True)

    def _template(self) -> Template:
        if self._key is None:
            self._key = self._templates.key(self.machine)
        template, _ = self._templates.get_or_make(self._key, self._make_template)
        return template

    def _make_template(self, template: Template) -> None:
        """A cold boot whose memory and disk are the template's own files."""
        self._discard()
        if self.machine.disk is not None:
            self._fresh_disk(template.disk)
        images = self._images(template.disk)
        assert self._settle is not None
        hook, self.before_run = self.before_run, None  # the bench's links are for the clones
        try:
            self._spawn(MachineFiles(run_dir=self.run_dir, images=images, ram=Ram.SHARED, ram_file=template.ram))
            self._settle(self)
            if not self._running or not self.alive():
                raise ControlFault("the device is not running after it was declared up")
            if self.machine.agent is not None:
                self.agent().sync()
                self._close_agent()
            # A guest that wakes as a clone and takes a port for open drops the first request. Nothing
            # tells when it has seen its ports closed, so it simply runs on for a moment.
            select.select([], [], [], _RUN_ON_S)
            self._stop_asked = True
            self._command("stop")
            with template.state.open("wb") as state:
                self._migrate("migrate", state.fileno())
            self._quit()
        finally:
            self.before_run = hook
            self._discard()

    def _images(self, disk: Path) -> dict[str, Path]:
        images = self._stored()
        return {**images, "disk": disk} if "disk" in images else images

    def _fresh_disk(self, file: Path) -> None:
        create_overlay(file, backing=self._stored()["disk"])

    def _stored(self) -> dict[str, Path]:
        return self._templates.images(self.machine)

    def _spawn(self, files: MachineFiles) -> None:
        """Start a paused QEMU; its monitor is descriptor 3."""
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = self.holder.run(
                self.machine.command_line(files), log=self._log, descriptors=[theirs.fileno()], cwd=self.run_dir
            )
        self._running = self._halted = self._stop_asked = self._ending = False
        try:
            self._qmp = QmpSession(ours, self._take_event, timeout=_START_S)
        except ControlFault as fault:
            ours.close()
            self._discard()
            said = self._log.read_bytes()[-500:].decode(errors="backslashreplace").strip()
            raise ControlFault(f"QEMU did not start: {said or fault.message}", hint=f"its log: {self._log}") from fault

    def _continue(self) -> None:
        self._command("cont")
        self._running = True

    def _migrate(self, command: str, state: int) -> None:
        """Write or read the machine's state, without the memory, and wait until that is done."""
        assert self._qmp is not None
        wanted = [{"capability": each, "state": True} for each in ("x-ignore-shared", "events")]
        self._command("migrate-set-capabilities", {"capabilities": wanted})
        # else QEMU announces the clone by ARP and RARP of its own, which a capture shows as the device's
        self._command("migrate-set-parameters", {"announce-rounds": 0})
        self._qmp.pass_descriptor(state, "state", timeout=_COMMAND_S)
        self._command(command, {"uri": "fd:state"})
        self._qmp.wait_status("MIGRATION", "completed", timeout=_STATE_S)

    def _refresh(self) -> frozenset[str] | None:
        """After a clone: what must differ between clones, and proof of what it is a clone of."""
        if self.machine.agent is None:
            return None
        agent = self.agent()
        agent.ping()
        active = agent.refresh()
        if active != self.machine.weaknesses:
            raise ControlFault(
                f"the device has the weaknesses {sorted(active)}, asked for were {sorted(self.machine.weaknesses)}"
            )
        return active

    def _command(self, command: str, arguments: Mapping[str, Any] | None = None) -> Any:
        if self._qmp is None:
            raise ControlFault(f"{command}: the device has no power", hint="power_on first")
        return self._qmp.execute(command, arguments, timeout=_COMMAND_S)

    def _quit(self) -> None:
        """QEMU writes out what it holds of the disk, and ends."""
        self._ending = True
        self._command("quit")
        self._discard(wait=True)

    def _discard(self, *, wait: bool = False) -> None:
        """Let go of the QEMU process: killed, or waited for when it has been told to quit."""
        self._notice_death()
        self._ending = True
        process, self._process = self._process, None
        if process is not None:
            if wait:
                process.wait(_COMMAND_S)
            else:
                process.kill()
            process.release()
        self._close_agent()
        if self._qmp is not None:
            self._qmp.close()
            self._qmp = None
        self._running = False

    def _close_agent(self) -> None:
        if self._agent is not None:
            self._agent.close()
            self._agent = None

    def _notice_death(self) -> None:
        """Report an unasked end, once; from any thread."""
        process = self._process
        if process is None or process.alive():
            return
        with self._ending_lock:
            if self._ending:
                return
            self._ending = True
        self._events.add(EventKind.DIED, asked=False, detail=f"QEMU ended by itself, see {self._log.name}")

    def _take_event(self, event: str, data: Mapping[str, Any]) -> None:
        """Called in the monitor's thread."""
        by_guest = bool(data.get("guest")) or not str(data.get("reason", "")).startswith("host-qmp")
        detail = str(data.get("reason") or data.get("action") or "")
        match event:
            case "RESET":
                self._events.add(EventKind.RESET, asked=not by_guest, detail=detail)
            case "SHUTDOWN":
                self._halted = True
                self._events.add(EventKind.SHUTDOWN, asked=not by_guest, detail=detail)
            case "GUEST_PANICKED" | "GUEST_CRASHLOADED":
                self._events.add(EventKind.PANIC, asked=False, detail=detail)
            case "WATCHDOG":
                self._events.add(EventKind.WATCHDOG, asked=False, detail=detail)
            case qmp.DISCONNECTED if not self._ending and self._process is not None:
                with contextlib.suppress(ControlFault):
                    self._process.wait(_COMMAND_S)
                self._notice_death()
            case "STOP":
                self._events.add(EventKind.STOP, asked=self._stop_asked, detail=detail)
