"""The command: ask, scan what is allowed, and write a device file and a rig file that are valid."""

from __future__ import annotations

import argparse
import io
import os
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.text import Text
from ruamel.yaml import YAML

from harness.capture import CaptureFile
from harness.clean import file_name, show_text
from harness.device_init.drafts import Draft, device_draft, rig_draft
from harness.device_init.emulated import booted, ready_of
from harness.device_init.log_in_drafts import as_pattern
from harness.device_init.options import Scan
from harness.device_init.scan_buses import listen, scan_modbus, scan_uds
from harness.device_init.scan_console import scan_console
from harness.device_init.scan_network import scan_ports, scan_ssh, scan_tls
from harness.device_init.seen import Scanned
from harness.device_init.wishes import Asking, Wishes, ask_for_identity, wishes_of
from harness.errors import UsageError
from harness.links.can import CanLink, open_can, open_socketcand
from harness.links.dialer import Dialer, HostDialer
from harness.links.modbus import ModbusLink, open_modbus_rtu, open_modbus_tcp
from harness.links.serial import open_serial
from harness.rig.loading import Rig, load_rig

__all__ = ["init_device"]


def init_device(options: argparse.Namespace) -> int:
    """Make the first files of a device, print what was found, and return the exit code.

    Raises:
        UsageError: an option is wrong, something is open and nobody can be asked, or a file is there already.
        BenchFault: a link cannot be opened, or is lost.
    """
    console = Console()
    ask: Asking | None = (lambda question: console.input(Text(show_text(question)))) if sys.stdin.isatty() else None
    _expect_free(options)
    wishes = wishes_of(options, ask)
    servers = wishes.scans & {Scan.SSH, Scan.TLS}
    if not any((wishes.console, wishes.uds, wishes.modbus_tcp, wishes.modbus_rtu, servers)):
        raise UsageError(
            "no interface on which the device shows model, serial number and version",
            hint="give --console, --modbus-tcp, --modbus-rtu, --can with --uds, or --address with --scan ssh or tls",
        )
    if ask is None:
        ask_for_identity(options, dict.fromkeys(("manufacturer", "model", "version", "serial"), "unknown"), None)
    now = datetime.now(UTC)
    record = Path("reports") / f"{now:%Y%m%dT%H%M%S.%fZ}-init-{file_name(options.name or 'device')}"
    control = _control_of(wishes)
    seen = _scanned(wishes, record, console) if wishes.scans else Scanned()
    for name, text in seen.identity().items():
        console.print(Text(f"the device names its {name}: {text}"))
    known = ask_for_identity(options, seen.identity(), ask)
    device_path, rig_path = _paths(options, known["name"])
    day = f"{now:%Y-%m-%d}"
    told = f"scan {record.name}" if wishes.scans else "nothing was scanned"
    device = device_draft(known, wishes, seen, scan=told, day=day)
    beside = os.path.relpath(device_path, rig_path.parent)
    if wishes.machine:
        control["machine"] = os.path.relpath(wishes.machine, rig_path.parent)
    grade = options.grade or ("emulated" if wishes.machine else "engineering")
    rig = rig_draft(known, wishes, seen, device=beside, control=control, grade=grade, day=day)
    loaded = _write({device_path: _text_of(device), rig_path: _text_of(rig)}, rig_path)
    _tell(console, loaded, device_path, rig_path, record if wishes.scans else None)
    return 0


def _control_of(wishes: Wishes) -> dict[str, str | float]:
    """Return the control for the rig file, its machine still to be put in."""
    if wishes.machine is None:
        return {"type": "none"}
    ready = ready_of(wishes.machine)
    return {"type": "qemu", "machine": "", "settle": as_pattern(ready.console), "settle_within": ready.within_s}


def _scanned(wishes: Wishes, record: Path, console: Console) -> Scanned:
    """Scan what is allowed, an emulated device in its own network."""
    record.mkdir(parents=True)
    if wishes.machine is None:
        return _Scanning(wishes, record, console, dialer=HostDialer(), port_of=str).all()
    with ExitStack() as device:
        with _waiting(console, "booting the device …"):
            control = device.enter_context(booted(wishes.machine, record))

        def port_of(port: str) -> str:
            return control.chardev(port.removeprefix("control:")) if port.startswith("control:") else port

        return _Scanning(wishes, record, console, dialer=control.holder, port_of=port_of).all()


def _waiting(console: Console, text: str) -> AbstractContextManager[object]:
    return console.status(text) if console.is_terminal else nullcontext()


class _Scanning:
    """The scans that are allowed, one after the other; what crosses the links is captured in the folder `record`.

    Sockets come from `dialer`; `port_of` turns `control:NAME` into the emulator's port.
    """

    def __init__(
        self, wishes: Wishes, record: Path, console: Console, *, dialer: Dialer, port_of: Callable[[str], str]
    ) -> None:
        self._wishes = wishes
        self._record = record
        self._console = console
        self._dialer = dialer
        self._port_of = port_of
        self._seen = Scanned()

    def all(self) -> Scanned:
        """Make them and return what was seen."""
        steps: dict[Scan, tuple[str, Callable[[CaptureFile], None]]] = {
            Scan.PORTS: ("ports", self._ports),
            Scan.TLS: ("TLS", self._tls),
            Scan.SSH: ("SSH", self._ssh),
            Scan.MODBUS: ("Modbus", self._modbus),
            Scan.CAN: ("CAN", self._bus),
            Scan.CONSOLE: ("the console", self._printing),
        }
        groups = {Scan.UDP: Scan.PORTS, Scan.BANNERS: Scan.PORTS, Scan.UDS: Scan.CAN}
        wanted = {groups.get(scan, scan) for scan in self._wishes.scans}
        for scan, (what, make) in steps.items():
            if scan not in wanted:
                continue
            tap = CaptureFile(self._record / f"{scan.value}.cap")
            try:
                with _waiting(self._console, f"scanning {what} …"):
                    make(tap)
            finally:
                tap.close()
        return self._seen

    def _address(self) -> str:
        assert self._wishes.address is not None  # a scan is allowed only where there is one
        return self._wishes.address

    def _ports(self, tap: CaptureFile) -> None:
        wishes = self._wishes
        host = self._address()
        try:
            self._seen.host = scan_ports(
                self._dialer, host,
                tcp=wishes.ports if Scan.PORTS in wishes.scans else (), udp=Scan.UDP in wishes.scans,
                banners=Scan.BANNERS in wishes.scans, timeout=wishes.timeout, tap=tap,
            )  # fmt: skip
        except OSError as error:
            raise UsageError(f"{host}: {error.strerror or error}", hint="compare --address") from error

    def _tls(self, tap: CaptureFile) -> None:
        for port in self._wishes.tls_ports:
            timeout = 5 * self._wishes.timeout
            self._seen.tls.append(scan_tls(self._dialer, self._address(), port, timeout=timeout, tap=tap))

    def _ssh(self, tap: CaptureFile) -> None:
        wishes = self._wishes
        self._seen.ssh = scan_ssh(
            self._dialer, self._address(), wishes.ssh_port, user=wishes.ssh_user, timeout=5 * wishes.timeout, tap=tap
        )

    def _modbus(self, tap: CaptureFile) -> None:
        wishes = self._wishes
        if wishes.modbus_tcp:
            host, port = wishes.modbus_tcp
            link = open_modbus_tcp(self._dialer, host, port, unit=1, name="modbus-tcp", tap=tap)
            self._units(link, "modbus-tcp")
        if wishes.modbus_rtu:
            stream = open_serial(
                self._port_of(wishes.modbus_rtu), baudrate=wishes.modbus_baudrate, parity=wishes.modbus_parity,
                name="modbus-rtu", tap=tap,
            )  # fmt: skip
            try:
                paced = wishes.modbus_rtu.startswith(("/", "usb:", "rfc2217://"))
                link = open_modbus_rtu(stream, unit=1, baudrate=wishes.modbus_baudrate, paced=paced)
                self._units(link, "modbus-rtu")
            finally:
                stream.close()

    def _units(self, link: ModbusLink, name: str) -> None:
        # Unit 0 is for all on a line, and answered by none.
        units = [unit for unit in self._wishes.units if unit or name == "modbus-tcp"]
        try:
            self._seen.modbus.append(scan_modbus(link, name, units=units, timeout=self._wishes.timeout))
        finally:
            link.close()

    def _bus(self, tap: CaptureFile) -> None:
        wishes = self._wishes
        bus = self._open_bus(tap)
        try:
            if Scan.CAN in wishes.scans:
                self._seen.can = listen(bus, wishes.listen)
            if Scan.UDS in wishes.scans:
                with_messages = CaptureFile(self._record / "uds.cap")
                try:
                    for request_id, response_id in wishes.uds:
                        self._seen.uds.append(
                            scan_uds(
                                bus, request_id=request_id, response_id=response_id,
                                timeout=wishes.timeout, tap=with_messages,
                            )
                        )  # fmt: skip
                finally:
                    with_messages.close()
        finally:
            bus.close()

    def _open_bus(self, tap: CaptureFile) -> CanLink:
        wishes = self._wishes
        assert wishes.can is not None  # a scan is allowed only where there is one
        if wishes.can_interface == "socketcand":
            if wishes.can_port is None:
                raise UsageError("socketcand needs a port", hint="--can-port unix:PATH or tcp:HOST:PORT")
            return open_socketcand(self._port_of(wishes.can_port), wishes.can, name="can", tap=tap)
        return open_can(interface=wishes.can_interface, channel=wishes.can, bitrate=wishes.bitrate, name="can", tap=tap)

    def _printing(self, tap: CaptureFile) -> None:
        wishes = self._wishes
        assert wishes.console is not None  # a scan is allowed only where there is one
        self._seen.console = scan_console(
            self._port_of(wishes.console), baudrates=wishes.baudrates, timeout=wishes.timeout, tap=tap
        )


def _paths(options: argparse.Namespace, name: str) -> tuple[Path, Path]:
    """Return where device file and rig file go."""
    place: Path = options.place
    if place.suffix in (".yaml", ".yml") and not place.is_dir():
        return place, options.rig or place.with_name(f"{place.stem}-rig{place.suffix}")
    return place / "devices" / f"{name}.yaml", options.rig or place / f"{name}.yaml"


def _expect_free(options: argparse.Namespace) -> None:
    """Nothing is asked or scanned for files that cannot be written: nothing that is there is overwritten."""
    is_file = options.place.suffix in (".yaml", ".yml") and not options.place.is_dir()
    for path in _paths(options, options.name or "") if options.name or is_file else ():
        if path.exists():
            raise UsageError("is there already", where=str(path), hint="give another name, or take it away first")


def _text_of(draft: Draft) -> str:
    yaml = YAML()
    yaml.width = 100_000  # nothing is folded
    stream = io.StringIO()
    yaml.dump(draft, stream)
    return stream.getvalue()


def _write(files: dict[Path, str], rig_path: Path) -> Rig:
    """Write all the files or none, each where none is, and only if they load.

    Raises:
        UsageError: one cannot be written, or they do not load.
    """
    with tempfile.TemporaryDirectory(prefix="proofrig-init-") as folder:
        top = Path(os.path.commonpath([path.resolve().parent for path in files]))
        tried = {path: Path(folder) / path.resolve().relative_to(top) for path in files}
        for path, text in files.items():
            tried[path].parent.mkdir(parents=True, exist_ok=True)
            tried[path].write_text(text, encoding="utf-8")
        load_rig(tried[rig_path])
    written: list[Path] = []
    try:
        for path, text in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                written.append(path)
                file.write(text)
    except OSError as error:
        for each in written:
            each.unlink()
        raise UsageError(f"cannot be written: {error.strerror}", where=str(path)) from error
    return load_rig(rig_path)


def _tell(console: Console, rig: Rig, device_path: Path, rig_path: Path, record: Path | None) -> None:
    """Say what was written and what comes next."""
    claims = rig.device.claims
    console.print(Text(f"written: {device_path}, {rig_path}"))
    if record:
        console.print(Text(f"what crossed the links: {record}"))
    console.print(Text(f"observed claims, which no testcase passes on: {', '.join(claims) or 'none'}"))
    todo = sum("TO DO" in line for path in (device_path, rig_path) for line in path.read_text("utf-8").splitlines())
    console.print(Text(f"{todo} lines say TO DO. Then: proofrig rig check {rig_path}"))
    if claims:
        console.print(
            Text(f"then, with the document at hand: proofrig device approve {device_path} --all --by … --source …")
        )
