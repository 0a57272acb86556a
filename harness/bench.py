"""The bench: a rig brought to life. It owns lock, control, links, watches, identity and baseline."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import IO, TypeVar

from harness.control.base import Capability, Control
from harness.control.holder import Holder
from harness.control.making import make_control
from harness.control.process import ProcessControl
from harness.control.qemu import QemuControl
from harness.device import make_surface
from harness.device.bus_commands import BusCommandSurface
from harness.device.custom import check_custom
from harness.device.dialogue import DialogueSurface
from harness.device.http import HttpSurface
from harness.device.log_in import LogInSurface
from harness.device.messages import MessageSurface
from harness.device.modbus_map import ModbusSurface
from harness.device.outcomes import Accepted, NoAnswer, name_of
from harness.device.surface import Surface
from harness.device.uds import UdsSurface
from harness.device.values import Value
from harness.errors import BaselineLost, BenchFault, ControlFault, LinkLost, UsageError, WrongDevice
from harness.identity import compare_identity
from harness.journal import Journal
from harness.links.dialer import Dialer, HostDialer
from harness.links.stream import StreamLink
from harness.lost_links import LostLinks
from harness.rig import rig_file as spec_of
from harness.rig.claims import EssentialPerformanceClaim
from harness.rig.loading import Rig
from harness.rig_lock import lock_rig
from harness.verdict import Undecided
from harness.watch import ConsoleWatch, EssentialPerformanceWatch, StallMonitor, Watch
from harness.wiring import RigWiring

__all__ = ["Bench"]

S = TypeVar("S", bound=Surface)


class Bench:
    """A rig brought to life. `open` it once, call `fresh` before each testcase, `close` it at the end."""

    def __init__(self, rig: Rig, *, run_dir: Path, journal: Journal, worker: str = "main") -> None:
        self.rig = rig
        self.journal = journal
        self.run_dir = run_dir
        self.worker = worker
        self.stalls = StallMonitor()
        self._lock: IO[str] | None = None
        self._control: Control | None = None
        self._holder: Holder | None = None
        self._wiring: RigWiring | None = None
        self._lost_links: LostLinks | None = None
        self._watches: list[Watch] = []
        self._surfaces: dict[str, Surface] = {}
        self._lost: BaselineLost | None = None
        self._settled = False
        self._versions: tuple[str, ...] = ()
        self.baseline: Mapping[str, Value] = MappingProxyType({})

    # Life

    def open(self) -> None:
        """Take the lock and make the control; the device stays as it is.

        Raises:
            UsageError: something the rig names is not there.
            BenchFault: somebody else has the rig, or the control cannot be made.
        """
        check_custom(self.rig)
        self._lock = lock_rig(self.rig)
        (self.run_dir / "captures").mkdir(parents=True, exist_ok=True)
        self._control = make_control(
            self.rig,
            journal=self.journal,
            log=self.run_dir / f"{self.worker}-device.log",
            settle=self._settle,
            pulse=lambda: self.wiring.pulse_reset(),  # there is no wiring yet
        )
        holder: Holder | None = getattr(self._control, "holder", None)
        self._holder = holder
        dialer: Dialer = HostDialer() if holder is None else holder
        self._wiring = RigWiring(
            self.rig,
            dialer=dialer,
            port_of=self._port,
            break_of=self._break,
            captures=self.run_dir / "captures",
            prefix=self.worker,
        )
        self._lost_links = LostLinks(self._wiring, journal=self.journal, powered=self._control.alive)

    def close(self) -> None:
        """Let go of everything; nothing of the run stays behind."""
        with ExitStack() as leaving:  # from the last to the first, whatever fails on the way
            for each in (self._lock, self.stalls, self._holder, self._control):
                if each is not None:
                    leaving.callback(each.close)
            self._stop_watches()
            for link, capture in self._wiring.close() if self._wiring is not None else ():
                self.journal.write("capture", link=link, **capture)

    # What testcases use

    @property
    def control(self) -> Control:
        """What the bench can do from outside."""
        if self._control is None:
            raise UsageError("the bench is not open", hint="call open() first")
        return self._control

    @property
    def wiring(self) -> RigWiring:
        """The links."""
        if self._wiring is None:
            raise UsageError("the bench is not open", hint="call open() first")
        return self._wiring

    @property
    def lost_links(self) -> LostLinks:
        """Which links were lost, and whether they are back."""
        if self._lost_links is None:
            raise UsageError("the bench is not open", hint="call open() first")
        return self._lost_links

    def surface(self, name: str) -> Surface:
        """Return a surface of the device by name."""
        if name not in self._surfaces:
            self._surfaces[name] = make_surface(name, self.wiring, device=self.rig.device)
        return self._surfaces[name]

    def log_in_surface(self, name: str) -> LogInSurface:
        """Return a surface on which people log in, whatever kind it is."""
        return self._of_kind(name, LogInSurface, "surface for log-ins")  # type: ignore[type-abstract]

    def dialogue(self, name: str) -> DialogueSurface:
        """Return a dialogue, for those who need its bytes."""
        return self._of_kind(name, DialogueSurface, "dialogue")

    def messages(self, name: str) -> MessageSurface:
        """Return a surface of framed messages, for those who need its bytes."""
        return self._of_kind(name, MessageSurface, "surface of messages")

    def line(self, name: str) -> DialogueSurface | MessageSurface:
        """Return a surface on a byte stream, for those who put raw bytes on it."""
        surface = self.surface(name)
        if not isinstance(surface, DialogueSurface | MessageSurface):
            raise UsageError(f"surface {name!r} is on no byte stream")
        return surface

    def http(self, name: str) -> HttpSurface:
        """Return an HTTP surface, for those who need its requests."""
        return self._of_kind(name, HttpSurface, "HTTP surface")

    def modbus(self, name: str) -> ModbusSurface:
        """Return a Modbus surface."""
        return self._of_kind(name, ModbusSurface, "Modbus surface")

    def uds(self, name: str) -> UdsSurface:
        """Return a UDS surface."""
        return self._of_kind(name, UdsSurface, "UDS surface")

    def bus_commands(self, name: str) -> BusCommandSurface:
        """Return a bus command surface."""
        return self._of_kind(name, BusCommandSurface, "bus command surface")

    def _of_kind(self, name: str, kind: type[S], what: str) -> S:
        surface = self.surface(name)
        if not isinstance(surface, kind):
            raise UsageError(f"surface {name!r} is no {what}")
        return surface

    @property
    def watches(self) -> tuple[Watch, ...]:
        """The watches that run now."""
        return tuple(self._watches)

    # Baseline

    def fresh(self, *, watch: bool = True) -> None:
        """Bring the device to its baseline, prove its identity, start the watches.

        A link that was lost is awaited, and opened again, before.

        Raises:
            BaselineLost: it could not be brought back; every later call says so too.
            LinkLost: a link is away. A later call looks for it again.
            WrongDevice: another unit answers.
        """
        if self._lost is not None:
            raise self._lost
        started = time.monotonic()
        try:
            route = self._restore_twice()
        except WrongDevice:
            raise
        except (BenchFault, Undecided) as fault:
            self.journal.write("baseline", state="lost", route="none", seconds=time.monotonic() - started)
            self.lost_links.confirm()
            away = self.lost_links.first_since(started)
            if away is not None and isinstance(fault, LinkLost):
                raise
            if away is not None:
                raise LinkLost(f"link {away.link!r} was lost: {fault}", hint=away.why.hint) from fault
            self._lost = BaselineLost(f"the device could not be brought to its baseline: {fault}")
            raise self._lost from fault
        self._settled = route == "clone"
        if watch:
            self.start_watches()
        self.journal.write("baseline", state="restored", route=route, seconds=round(time.monotonic() - started, 4))

    def _restore_twice(self) -> str:
        try:
            return self._restore()
        except WrongDevice:
            raise
        except (BenchFault, Undecided) as first:
            if self.lost_links.given_up:
                raise  # it was waited for
            self.journal.write("fault", what=str(first), hint="")
            self.lost_links.confirm()
            self.lost_links.note_absent()
            return self._restore()

    def _restore(self) -> str:
        """Bring the device back once, prove its identity and read the baseline; return the route."""
        self._versions = ()
        self._stop_watches()
        self._surfaces.clear()
        self.wiring.forget_observer()
        self.lost_links.note()
        self.wiring.drop()
        route = "none"
        if Capability.RESTORE in self.control.capabilities:
            self._set_before_run()
            report = self.control.restore()
            route = report.method
            if report.template is not None:
                self.journal.write("snapshot", action="clone", template=report.template)
            self.lost_links.bring_back(heartbeat=True)
            if self.check_identity(within=self.rig.device.starts_within if route == "boot" else None):
                surface = self.rig.device.identity
                raise BenchFault(f"a session was left open on {surface} while the device came up: that is no baseline")
        else:
            self.lost_links.bring_back(heartbeat=True)
            self.wiring.open_eager()
            self.check_identity(within=self.power_up())
        self.baseline = self.fingerprint()
        return route

    def power_up(self) -> float | None:
        """Give power to a device that has none; return the seconds it may then take to answer, None for the usual."""
        if Capability.POWER not in self.control.capabilities or self.control.alive():
            return None
        self.journal.write("power", action="on")
        self.control.power_on()
        return self.rig.device.starts_within

    def power_cycle(self, *, before_on: float = 0.0) -> None:
        """Take the power, at once where the control can, and start cold; the caller waits for what it wants.

        The links are open before the first byte. `before_on`: seconds the power stays off at least.
        """
        self._let_go()
        self._set_before_run()
        at_once = Capability.CUT in self.control.capabilities
        self.journal.write("power", action="cut" if at_once else "off")
        (self.control.cut if at_once else self.control.power_off)()
        if before_on:
            # Nothing can be awaited on a device without power: this is the off time itself.
            time.sleep(before_on)
        self.power_on()

    def power_off(self) -> None:
        """Take the power in an orderly manner; the caller has had the watches judged (`Case.judge_watches`)."""
        self._let_go()
        self.journal.write("power", action="off")
        self.control.power_off()

    def power_on(self) -> None:
        """Start cold after `power_off`, with the links open before the first byte; the caller waits for the device."""
        self._set_before_run()
        self.journal.write("power", action="on")
        self.control.power_on()

    def _let_go(self) -> None:
        """Let go of what does not outlive a device without power."""
        self._stop_watches()
        self._surfaces.clear()
        self.lost_links.note()
        self.wiring.drop()
        self._settled = False

    def reconnect(self) -> None:
        """Let go of what does not outlive a restart that the device makes by itself: watches, buses, connections.

        Serial lines stay open, for what it says as it starts. The caller has had the watches judged
        (`Case.judge_watches`), waits for the device, and starts them again.
        """
        self._stop_watches()
        self._surfaces.clear()
        self.lost_links.note()
        self.wiring.drop(serial=False)
        self._settled = False

    def expect_version(self, *versions: str) -> None:
        """Say that the device may have one of these versions from now to the next baseline, not the declared one."""
        self._versions = versions

    def disk_written(self) -> int | None:
        """Return how many bytes the device has written to its disk since it got power; None where nobody can tell."""
        return self.control.disk_written() if isinstance(self.control, QemuControl) else None

    def start_watches(self) -> None:
        """Start a console watch and one for each essential-performance claim whose link is wired.

        The emulator behind the device is sampled for stalls from now on.
        """
        device = self.rig.device
        links = self.rig.file.links
        control = self.control
        self.stalls.watch_process(control.pid if isinstance(control, QemuControl | ProcessControl) else None)
        if device.console and device.console in links and device.death_strings:
            stream = self.wiring.open_stream(device.console)
            if isinstance(stream, NoAnswer):
                raise BenchFault(f"console {device.console!r} cannot be watched")
            self._watches.append(ConsoleWatch(stream, patterns=device.death_strings, sent=lambda: stream.sent_lately))
        for claim_id, claim in device.claims_of(EssentialPerformanceClaim).items():
            if claim.link in links:
                bus = self.wiring.can(claim.link)
                watch = EssentialPerformanceWatch(bus, claim_id=claim_id, claim=claim, settled=self._settled)
                self._watches.append(watch)

    def check_identity(self, *, within: float | None = None) -> bool:
        """Read model, serial number and version, and compare with device and rig file (`compare_identity`).

        Raises:
            Undecided: the device does not answer within `within` seconds (five answers' time when not given).
            WrongDevice: another unit, model or version answers.
        """
        device = self.rig.device
        versions = self._versions or (device.version,)
        surface = self.surface(device.identity)
        return compare_identity(surface, self.rig, journal=self.journal, versions=versions, within=within)

    def fingerprint(self) -> Mapping[str, Value]:
        """Read the baseline's values.

        Raises:
            Undecided: one of them cannot be read.
        """
        values: dict[str, Value] = {}
        for item in self.rig.device.fingerprint:
            outcome = self.surface(item.surface).read(item.field)
            if not isinstance(outcome, Accepted):
                raise Undecided(f"baseline: {item.surface} {item.field}: {name_of(outcome)}")
            values[f"{item.surface}.{item.field}"] = outcome.value
        return MappingProxyType(values)

    def _stop_watches(self) -> None:
        for watch in self._watches:
            watch.close()
        self._watches.clear()

    def _set_before_run(self) -> None:
        # Controls that start the device themselves let the links open before its first instruction.
        if hasattr(self.control, "before_run"):
            self.control.before_run = self._open_before_run

    def _open_before_run(self) -> None:
        self.lost_links.bring_back(heartbeat=False)  # nothing runs yet: no heartbeat is due
        self.wiring.open_eager()

    # Making

    def _settle(self, control: QemuControl, spec: spec_of.QemuControlSpec) -> None:
        """Boot cold and wait until the device is up, for the making of a template."""
        console = self.rig.device.console
        stream = self.wiring.open_stream(console) if console else None
        try:
            control.power_on()
            if isinstance(stream, StreamLink):
                up = stream.expect(re.compile(spec.settle.encode()), since=0, timeout=spec.settle_within)
                if up is None:
                    raise ControlFault(
                        f"the device is not up {spec.settle_within:g} s after power-on",
                        hint=f"nothing on the console matched {spec.settle!r}; see {self.run_dir}/captures",
                    )
            self.check_identity(within=spec.settle_within)
        finally:
            self._surfaces.clear()
            self.wiring.drop()

    def _break(self, name: str) -> Callable[[], None] | None:
        can = Capability.BREAK in self.control.capabilities
        return partial(self.control.send_break, name) if can else None

    def _port(self, name: str) -> str:
        if isinstance(self.control, ProcessControl):
            return f"unix:{self.control.run_dir}/{name}.sock"
        chardev = getattr(self.control, "chardev", None)
        if chardev is None:
            raise UsageError(
                f"port control:{name} needs an emulated device",
                where=str(self.rig.path),
                hint="give a device path, or use control: {type: qemu}",
            )
        return str(chardev(name))
