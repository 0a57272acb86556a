"""The control of a rig, made as its rig file says."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from harness.control.base import Control
from harness.control.command import CommandControl, Commands
from harness.control.holder import Holder
from harness.control.labgrid import LabgridControl
from harness.control.labgrid_place import LabgridPlace
from harness.control.machine import load_machine
from harness.control.medium import MediumImage
from harness.control.none import NoControl
from harness.control.operator import OperatorControl
from harness.control.process import ProcessControl
from harness.control.qemu import QemuControl
from harness.control.reset_line import ResetByLine
from harness.control.template import TemplateStore
from harness.journal import Journal
from harness.rig import control_specs as spec_of
from harness.rig.loading import Rig
from harness.rig.machine_file import load_machine_file

__all__ = ["make_control", "make_place"]

Settle = Callable[[QemuControl, spec_of.QemuControlSpec], None]
Note = Callable[[str, dict[str, Any]], None]


def make_control(rig: Rig, *, journal: Journal, log: Path, settle: Settle, pulse: Callable[[], None]) -> Control:
    """Make the control; the device stays as it is.

    Args:
        rig: its file says which control.
        journal: of what the device is made, what supplies measure, what people say.
        log: what an emulator or a device program says; the image of a medium is kept beside it as long as it is needed.
        settle: boots an emulated device and waits until it is up, for a template.
        pulse: pulses the reset line of the rig file, if it has one.

    Raises:
        UsageError: a command is not there, or nobody is there to be asked, or what was built is of another make.
        ControlFault: an emulator or its images are not there, the holder of the network cannot be started, or a
            shared place is somebody else's.
    """
    match rig.file.control:
        case spec_of.ProcessControlSpec() as spec:
            return _make_process(spec, rig=rig, log=log)
        case spec_of.QemuControlSpec() as spec:
            return _make_qemu(spec, rig=rig, journal=journal, log=log, settle=settle)
        case spec:
            power = _make_power(spec, rig=rig, scratch=log.parent, note=partial(_note, journal, spec.type))
    if (line := rig.file.reset_line) is None:
        return power

    def reset() -> None:
        pulse()
        _note(journal, "reset line", "reset", line.model_dump(mode="json"))

    return ResetByLine(power, pulse=reset)


def _make_process(spec: spec_of.ProcessControlSpec, *, rig: Rig, log: Path) -> ProcessControl:
    folder = str(rig.path.parent)
    command = [part.replace("{python}", sys.executable).replace("{rig_dir}", folder) for part in spec.command]
    if spec.weaknesses:
        command += ["--weakness", ",".join(spec.weaknesses)]
    return ProcessControl(command, log=log)


def _make_qemu(spec: spec_of.QemuControlSpec, *, rig: Rig, journal: Journal, log: Path, settle: Settle) -> QemuControl:
    """Make an emulator; its holder is the caller's to close."""
    description = rig.resolve(spec.machine)
    machine = load_machine(description, weaknesses=frozenset(spec.weaknesses))
    machine.check()
    made = load_machine_file(description)
    templates = TemplateStore(description.parent / "templates")
    journal.write(
        "image",
        image_sha256={name: image.sha256 for name, image in made.images.items()} or templates.hashes(machine),
        lock_sha256=made.packages_lock_sha256,
        weaknesses=sorted(spec.weaknesses),
    )
    with ExitStack() as on_failure:
        holder = Holder()
        on_failure.callback(holder.close)
        control = QemuControl(
            machine,
            holder=holder,
            templates=templates,
            log=log,
            # Clones of a device without the bench agent would all draw the same random numbers: it boots each time.
            settle=(lambda control: settle(control, spec)) if machine.agent is not None else None,
        )
        on_failure.pop_all()
    return control


def _make_power(
    spec: spec_of.CommandControl
    | spec_of.ScpiControlSpec
    | spec_of.OperatorControlSpec
    | spec_of.LabgridControlSpec
    | spec_of.NoControl,
    *,
    rig: Rig,
    scratch: Path,
    note: Note,
) -> Control:
    match spec:
        case spec_of.CommandControl():
            commands = Commands(
                power_on=spec.power_on,
                power_off=spec.power_off,
                reset=spec.reset or None,
                storage=spec.storage.command if spec.storage is not None else None,
                timeout_s=spec.timeout,
                storage_s=spec.storage.within if spec.storage is not None else 0.0,
            )
            return CommandControl(commands, image=_make_image(spec.storage, scratch=scratch, note=note))
        case spec_of.ScpiControlSpec():
            from harness.control.scpi import ScpiControl  # noqa: PLC0415  (only rigs with a supply need pyvisa)

            return ScpiControl(spec, note=note)
        case spec_of.OperatorControlSpec():
            unit = f"{rig.device.model} {rig.file.item.serial} on rig {rig.file.rig}"
            image = _make_image(spec.storage, scratch=scratch, note=note)
            return OperatorControl(spec, unit=unit, note=note, image=image)
        case spec_of.LabgridControlSpec():
            image = _make_image(spec.storage, scratch=scratch, note=note)
            return LabgridControl(spec, place=make_place(spec, rig=rig), note=note, image=image)
        case spec_of.NoControl():
            return NoControl()


def make_place(spec: spec_of.LabgridControlSpec, *, rig: Rig) -> LabgridPlace:
    """Return the place of a rig; nothing is asked of its coordinator.

    Raises:
        UsageError: labgrid's client is not there, or where it must not be.
    """
    client = str(rig.resolve(spec.client)) if "/" in spec.client else spec.client
    return LabgridPlace(spec, client=client)


def _make_image(limits: spec_of.StorageLimits | None, *, scratch: Path, note: Note) -> MediumImage | None:
    return MediumImage(scratch / "storage", limits=limits, note=note) if limits is not None else None


def _note(journal: Journal, source: str, event: str, details: dict[str, Any]) -> None:
    journal.write("event", source=source, event=event, asked=True, **details)
