"""The whole examination: what is looked at for the harness, what for one rig, and the table that shows it."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.clean import show_text
from harness.control.emulators import emulator_package
from harness.control.making import make_place
from harness.control.operator import check_terminal
from harness.doctor import adapters, can_interfaces, emulation, host, software
from harness.doctor.finding import Finding, State
from harness.errors import BenchFault, ProofrigError, UsageError
from harness.links.usb_port import PREFIX, locate
from harness.rig import rig_file as spec_of
from harness.rig.loading import Rig, load_rig
from harness.rig_lock import lock_file
from harness.verdict import EXIT_USAGE

__all__ = ["examine", "report"]

RUNNING = ("iproute2", "qemu-utils")
"""Debian packages with which an emulated device runs, beside its emulator; the others build it, or are for tests."""

_CELL = 400
"""Most characters of a cell: what a host says of itself may be long."""

_SAID = 200
"""Most characters of what a program said as it failed."""

_STYLES = {State.GOOD: "green", State.MISSING: "red", State.DOUBTFUL: "yellow", State.UNNEEDED: "dim"}

Look = Callable[[], Finding | Iterable[Finding]]


@dataclass(frozen=True, slots=True)
class _Step:
    """One look at the host; `unneeded` says why none is taken."""

    what: str
    look: Look | None
    unneeded: str = ""


def report(path: Path | None) -> int:
    """Examine the host, for one rig where its file is given, print the table, and return the exit code.

    Raises:
        UsageError: the rig file is wrong.
    """
    rig = load_rig(path) if path is not None else None
    console = Console()
    with console.status("looking at the host …") if console.is_terminal else nullcontext():
        findings = examine(rig)
    console.print(table_of(findings, title=f"host for rig {rig.file.rig}" if rig else "host"))
    missing = [finding.what for finding in findings if finding.state is State.MISSING]
    doubtful = [finding.what for finding in findings if finding.state is State.DOUBTFUL]
    summary = f"missing: {', '.join(missing)}" if missing else "nothing that is needed is missing"
    summary += f"; doubtful: {', '.join(doubtful)}" if doubtful else ""
    console.print(Text(show_text(summary)))
    return EXIT_USAGE if missing else 0


def table_of(findings: Sequence[Finding], *, title: str) -> Table:
    """Return findings as a table; what the host says of itself is made safe to show."""
    table = Table(title=title)
    for heading in ("what", "state", "seen", "what to do"):
        table.add_column(heading, overflow="fold")
    for each in findings:
        cells = [Text(show_text(text, limit=_CELL)) for text in (each.what, each.seen, each.remedy)]
        table.add_row(cells[0], Text(each.state, style=_STYLES[each.state]), *cells[1:])
    return table


def examine(rig: Rig | None) -> list[Finding]:
    """Look at everything, and only at what `rig` needs where it is given."""
    start = host.ClockStart()
    findings: list[Finding] = []
    for step in [*_steps(rig), *_ends(start)]:
        if step.unneeded or step.look is None:
            findings.append(Finding(step.what, State.UNNEEDED, step.unneeded))
            continue
        try:
            found = step.look()
        except subprocess.CalledProcessError as error:
            said = (error.stderr or error.output or "nothing").strip()[-_SAID:]
            seen = f"{error.cmd[0]} ended with {error.returncode}, and said: {said}"
            found = Finding(step.what, State.MISSING, seen, "it is there and does not work: install it anew")
        except (OSError, ValueError, subprocess.SubprocessError, ProofrigError) as error:
            remedy = "try it by hand: without an answer nobody knows"
            found = Finding(step.what, State.DOUBTFUL, f"could not be looked at: {error}", remedy)
        findings += [found] if isinstance(found, Finding) else found
    return findings


def _running(rig: Rig | None) -> tuple[str, ...] | None:
    """The Debian packages with which the device of a rig runs; None for all of them."""
    if rig is None:
        return None
    control = rig.file.control
    machine = rig.resolve(control.machine) if isinstance(control, spec_of.QemuControlSpec) else None
    return (*RUNNING, *([emulator_package(emulation.program_of(machine))] if machine else []))


def _steps(rig: Rig | None) -> Iterator[_Step]:
    control = rig.file.control if rig is not None else None
    emulated = rig is None or isinstance(control, spec_of.QemuControlSpec)
    private = rig is None or rig.cloneable
    yield _Step("Python", software.python)
    yield _Step("Python packages", software.python_packages)
    no_emulator = "" if emulated else "this rig emulates nothing"
    yield _Step("Debian packages", lambda: software.debian_packages(_running(rig)), no_emulator)
    yield from _emulation(rig, no_emulator)
    no_network = "" if private else "the rig's device is in the network of the host"
    yield _Step("namespaces", lambda: emulation.private_network(tap=emulated), no_network)
    yield _Step("Allure generator", software.generator)
    yield _Step("Node.js", software.node)
    in_tests = "" if rig is None else "only `make test` needs it"
    yield _Step("Chromium", software.chromium, in_tests)
    yield _Step("fonts", software.fonts)
    if rig is None:
        yield _Step("serial adapters", adapters.serial_adapters)
        yield _Step("CAN interfaces", can_interfaces.can_interfaces)
    else:
        yield from _rig(rig)
    yield _Step("disk, record", lambda: host.room("disk, record", Path("reports")))
    yield _Step("disk, temporary", lambda: host.room("disk, temporary", Path(tempfile.gettempdir())), no_network)


def _ends(start: host.ClockStart) -> Iterator[_Step]:
    """The clocks come last, when some time has passed."""
    yield _Step("clock", lambda: host.clock(start))
    yield _Step("time zone", host.time_zone)


def _emulation(rig: Rig | None, unneeded: str) -> Iterator[_Step]:
    control = rig.file.control if rig is not None else None
    if rig is None or not isinstance(control, spec_of.QemuControlSpec):
        yield _Step("QEMU", emulation.emulator, unneeded)
        yield _Step("firmware image", None, unneeded or "no rig given; `make firmware` builds it")
        return
    description = rig.resolve(control.machine)
    yield _Step("QEMU", lambda: emulation.emulator(emulation.program_of(description)))
    yield _Step("firmware image", lambda: emulation.firmware_image(description))


def _rig(rig: Rig) -> Iterator[_Step]:
    """What one rig needs beside the harness: its control, its files, and the adapter of each of its links."""
    file = rig.file
    yield from _power(rig)
    yield _Step("files of the rig", lambda: host.files(_files(rig)), "" if _files(rig) else "it names none")
    yield _Step("rig in use", lambda: _in_use(rig), "each process has a device of its own" if rig.cloneable else "")
    kinds = {type(spec) for spec in file.links.values()}
    if not kinds & {spec_of.SerialLinkSpec, spec_of.ModbusRtuLinkSpec}:
        yield _Step("serial adapters", None, "the rig wires no serial line")
    if spec_of.CanLinkSpec not in kinds:
        yield _Step("SocketCAN", None, "the rig wires no CAN bus")
    for name, spec in file.links.items():
        match spec:
            case spec_of.SerialLinkSpec() | spec_of.ModbusRtuLinkSpec():
                yield _line(f"link {name}", spec.port)
            case spec_of.CanLinkSpec():
                yield from _bus(f"link {name}", spec)
            case _:
                pass  # the ways to its addresses follow
    if rig.cloneable or not file.targets:
        why = "the device is in a private network of its own" if rig.cloneable else "the rig names no address"
        yield _Step("ways to the device", None, why)
        return
    for address in file.targets:
        yield _Step(f"way to {address}", lambda address=address: host.route(address))  # type: ignore[misc]
    if (bench := file.bench_address) is not None:
        yield _Step(f"bench address {bench}", lambda: host.bench_address(bench))


def _power(rig: Rig) -> Iterator[_Step]:
    match control := rig.file.control:
        case spec_of.CommandControl():
            storage = control.storage.command if control.storage is not None else ()
            commands = [each[0] for each in (control.power_on, control.power_off, control.reset, storage) if each]
            yield _Step("power", lambda: host.programs("power", commands))
        case spec_of.ScpiControlSpec():
            yield _Step("power", lambda: _untried("power", control.resource))
        case spec_of.OperatorControlSpec():
            yield _Step("power", _person)
        case spec_of.LabgridControlSpec():
            yield _Step("power", lambda: _place(rig, control))


def _person() -> Finding:
    """Look whether there is a person to ask for the power."""
    try:
        check_terminal()
    except UsageError as error:
        return Finding("power", State.MISSING, error.message, error.hint or "")
    return Finding("power", State.GOOD, "there is a terminal to ask a person on")


def _place(rig: Rig, control: spec_of.LabgridControlSpec) -> Finding:
    """Ask labgrid's coordinator for the place; nothing is acquired."""
    try:
        place = make_place(control, rig=rig)
        place.check_free()
        version = place.version()
    except (UsageError, BenchFault) as error:
        return Finding("power", State.MISSING, error.message, error.hint or "")
    seen = f"labgrid {version}: place {place.name} at {place.coordinator} is free; its port was not asked"
    return Finding("power", State.GOOD, seen)


def _files(rig: Rig) -> list[tuple[str, Path]]:
    """Return the files that a rig names, by their keys."""
    named = [("bundles", rig.file.bundles)]
    for name, spec in rig.file.links.items():
        named += [(f"links.{name}.{key}", getattr(spec, key, None)) for key in ("key_file", "ca_file")]
    return [(key, rig.resolve(path)) for key, path in named if path]


def _line(what: str, port: str) -> _Step:
    kind, _, rest = port.partition(":")
    if kind == "control":
        return _Step(what, None, "a line of the emulated or simulated device")
    if kind == "unix":
        return _Step(what, lambda: host.files([(what, Path(rest))]))
    if "://" in port:
        return _Step(what, lambda: _untried(what, port))
    return _Step(what, lambda: _adapter(what, port))


def _adapter(what: str, port: str) -> Finding:
    """Look at the adapter that a rig means, by its path or its USB identity."""
    try:
        path = locate(port, name=what) if port.startswith(PREFIX) else port
    except (UsageError, BenchFault) as error:
        return Finding(what, State.MISSING, error.message, error.hint or "")
    return adapters.adapter(what, Path(path))


def _bus(what: str, spec: spec_of.CanLinkSpec) -> Iterator[_Step]:
    if spec.interface == "socketcan":
        yield _Step(f"{what}, kernel", can_interfaces.socketcan)
        yield _Step(what, lambda: can_interfaces.can_interface(what, spec.channel, bitrate=spec.bitrate))
    elif spec.interface == "socketcand" and spec.port is not None:
        yield _line(what, spec.port.replace("tcp:", "tcp://", 1))
    else:
        yield _Step(what, lambda: _untried(what, f"{spec.interface} {spec.channel}"))


def _untried(what: str, where: str) -> Finding:
    """What can be seen only by opening it, which may act on the device: `rig check` does it."""
    return Finding(what, State.DOUBTFUL, f"{where} is not opened here", "`proofrig rig check` opens it")


def _in_use(rig: Rig) -> Finding:
    """Look whether a run has the rig now, and whether one could take it."""
    lock = lock_file(rig)
    if not os.access(lock if lock.exists() else lock.parent, os.W_OK, effective_ids=True):
        seen = f"{lock} may not be written, which a run locks"
        return Finding("rig in use", State.MISSING, seen, "put the rig file into a folder you may write to")
    if not lock.exists():
        return Finding("rig in use", State.GOOD, f"no run has ever taken it: there is no {lock.name}")
    if holders := [name for name, locks in adapters.held_by(lock).items() if locks]:
        return Finding("rig in use", State.MISSING, f"in use by {', '.join(holders)}", "wait for that run, or stop it")
    return Finding("rig in use", State.GOOD, f"nobody has locked {lock}")
