"""Serial adapters by what they are, not by the number they got: `usb:VID:PID[:SERIAL]`."""

from __future__ import annotations

import grp
import os
from collections.abc import Sequence
from pathlib import Path

from serial.tools.list_ports import comports
from serial.tools.list_ports_common import ListPortInfo

from harness.clean import show_text
from harness.errors import BenchFault, UsageError
from harness.rig.rig_file import USB_PORT

__all__ = ["PREFIX", "locate"]

PREFIX = "usb:"


def locate(port: str, *, name: str) -> str:
    """Return the device path of the serial port that link `name` uses; a URL stays as it is.

    Raises:
        UsageError: the text is none, more than one adapter is meant by it, or the adapter may not be used.
        BenchFault: no adapter is meant by it.
    """
    path = _by_identity(port, name=name) if port.startswith(PREFIX) else port
    allowed = os.access(path, os.R_OK | os.W_OK, effective_ids=True)
    if path.startswith("/") and Path(path).exists() and not allowed:
        raise UsageError(f"{name}: {port}: {path} may not be read and written by this user", hint=_how_to_allow(path))
    return path


def _by_identity(port: str, *, name: str) -> str:
    wanted = USB_PORT.fullmatch(port)
    if wanted is None:
        raise UsageError(f"{name}: {port!r} is not usb:VID:PID[:SERIAL]", hint="`lsusb` shows both numbers")
    adapters = sorted((each for each in comports() if each.vid is not None), key=lambda each: each.device)
    found = [
        each
        for each in adapters
        if (each.vid, each.pid) == (int(wanted["vid"], 16), int(wanted["pid"], 16))
        and wanted["serial"] in (None, each.serial_number)
    ]
    if not found:
        there = ", ".join(map(_identity, adapters)) or "none"
        raise BenchFault(f"{name}: no adapter {port} is plugged in", hint=f"adapters that are: {there}")
    if len(found) > 1:
        raise UsageError(
            f"{name}: {port} means {len(found)} adapters: {', '.join(f'{_identity(e)} at {e.device}' for e in found)}",
            hint=_how_to_tell_apart(found),
        )
    return found[0].device


def _identity(adapter: ListPortInfo) -> str:
    serial = f":{show_text(adapter.serial_number, limit=60)}" if adapter.serial_number else ""
    return f"usb:{adapter.vid:04x}:{adapter.pid:04x}{serial}"


def _how_to_tell_apart(adapters: Sequence[ListPortInfo]) -> str:
    if len({each.serial_number for each in adapters}) == len(adapters):
        return "add the serial number: usb:VID:PID:SERIAL"
    return "their serial numbers do not tell them apart: give /dev/serial/by-id/… (port) or by-path/… (socket)"


def _how_to_allow(path: str) -> str:
    group = Path(path).stat().st_gid
    try:
        return f"add the user to group {grp.getgrgid(group).gr_name}, and log in again"
    except KeyError:
        return f"add the user to group {group}, and log in again"
