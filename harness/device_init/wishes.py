"""What the engineer says: by options, or on the terminal for what no option answers."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.device_init.options import IDENTITY, PLACES, Question, Scan, as_baudrates, as_ports, as_units
from harness.errors import UsageError

__all__ = ["Asking", "Wishes", "ask_for_identity", "wishes_of"]


Asking = Callable[[str], str]
"""Asks a question on the terminal and returns the line that was typed."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """Where the device is, what may be scanned there, and what the engineer knows of it."""

    address: str | None
    ports: tuple[int, ...]
    ssh_port: int
    ssh_user: str
    tls_ports: tuple[int, ...]
    modbus_tcp: tuple[str, int] | None
    modbus_rtu: str | None
    modbus_baudrate: int
    modbus_parity: str
    units: tuple[int, ...]
    can: str | None
    can_interface: str
    can_port: str | None
    bitrate: int
    listen: float
    uds: tuple[tuple[int, int], ...]
    console: str | None
    machine: Path | None
    baudrates: tuple[int, ...]
    timeout: float
    scans: frozenset[Scan]


_QUESTIONS = {
    Scan.PORTS: "Connect to {ports} TCP ports of {address}",
    Scan.UDP: "Ask the usual UDP ports of {address}",
    Scan.BANNERS: "Connect to each open TCP port again and listen to what it says",
    Scan.TLS: "Shake hands with TLS servers of {address}",
    Scan.SSH: "Read what the SSH server of {address} offers, and ask for its log-in methods as {ssh_user}",
    Scan.MODBUS: "Ask {units} Modbus units who they are, and for every function code",
    Scan.CAN: "Listen to the CAN bus for {listen:g} s",
    Scan.UDS: "Ask the UDS servers for every service, and read the usual identifiers",
    Scan.CONSOLE: "Send a carriage return on the console, at {baudrates} speeds",
}


def wishes_of(options: argparse.Namespace, ask: Asking | None) -> Wishes:
    """Understand the options, and ask for the places and the scans that they leave open, where there is a terminal.

    Raises:
        UsageError: an option cannot be understood.
    """
    places = {question.name: _answer(question, getattr(options, question.name), ask, "none") for question in PLACES}
    if places["uds"] and not places["can"]:
        raise UsageError("a UDS server needs a CAN bus", hint="give --can, too")
    ports = {"console": places["console"], "modbus-rtu": places["modbus_rtu"], "can-port": options.can_port}
    lost = [f"--{name} {port}" for name, port in ports.items() if port and port.startswith("control:")]
    if lost and options.machine is None:
        raise UsageError(f"{', '.join(lost)} is of an emulated device, and there is none", hint="--machine device.json")
    if options.listen <= 0 or options.timeout <= 0 or options.modbus_baudrate <= 0 or options.bitrate <= 0:
        raise UsageError("times and speeds must be over 0", hint="--listen, --timeout, --modbus-baudrate, --bitrate")
    given = {
        "ports": as_ports(options.ports),
        "ssh_port": as_ports(str(options.ssh_port))[0],
        "ssh_user": options.ssh_user,
        "tls_ports": as_ports(options.tls_ports),
        "modbus_baudrate": options.modbus_baudrate,
        "modbus_parity": options.modbus_parity,
        "units": as_units(options.units),
        "can_interface": options.can_interface,
        "can_port": options.can_port,
        "bitrate": options.bitrate,
        "listen": options.listen,
        "machine": options.machine,
        "baudrates": as_baudrates(options.baudrates),
        "timeout": options.timeout,
        **places,
        "uds": places["uds"] or (),
    }
    return Wishes(**given, scans=_scans(options.scan, given, ask))


def ask_for_identity(options: argparse.Namespace, found: Mapping[str, str], ask: Asking | None) -> dict[str, str]:
    """Return name, manufacturer, model, kind, version and serial number: given, found by a scan, or asked for.

    Raises:
        UsageError: something is open and there is no terminal, or the name is none.
    """
    known: dict[str, str] = {}
    for question in IDENTITY:
        known[question.name] = _answer(question, getattr(options, question.name), ask, found.get(question.name)) or ""
    missing = [f"--{name}" for name, text in known.items() if not text]
    name = options.name or re.sub(r"[^a-z0-9]+", "-", known["model"].lower()).strip("-")
    if missing:
        raise UsageError(f"not known, and nobody can be asked: {', '.join(missing)}", hint="give these options")
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name):
        raise UsageError(f"{name!r} is no name of a device", hint="--name with small letters, digits and dashes")
    return {"name": name, **known}


def _answer(question: Question, given: str | None, ask: Asking | None, default: str | None) -> Any:
    """Return what was given, or typed, as it is understood; None for none. A wrong answer is asked for again."""
    if given is not None:
        return question.understood(given) if given else None
    if ask is None:
        return None if default in (None, "none") else default
    asked = f"{question.text} [{default}]: " if default else f"{question.text}: "
    wrong = ""
    while True:
        typed = ask(wrong + asked).strip() or default or ""
        if typed == "none" and default == "none":
            return None
        try:
            if typed:
                return question.understood(typed)
        except UsageError as error:
            wrong = f"  {error.message}\n"


def _scans(named: list[str], given: Mapping[str, Any], ask: Asking | None) -> frozenset[Scan]:
    """Return the scans that may be made: those switched on, and those a person says yes to."""
    words = {word.strip() for part in named for word in part.split(",") if word.strip()}
    if wrong := words - {"all", *Scan}:
        raise UsageError(f"no scan {', '.join(sorted(wrong))}", hint=f"there are {', '.join(Scan)}, and all")
    possible = [scan for scan in Scan if _has_place(scan, given)]
    if lost := sorted(words - {"all", *possible}):
        raise UsageError(f"nothing to scan: {', '.join(lost)}", hint="give --address, --modbus-tcp, --can … as well")
    allowed = set(possible) if "all" in words else {Scan(word) for word in words}
    if ask is not None:
        sizes = {name: len(given[name]) for name in ("ports", "units", "baudrates")}
        for scan in possible:
            if scan in allowed or (scan is Scan.BANNERS and Scan.PORTS not in allowed):
                continue
            question = _QUESTIONS[scan].format(**{**given, **sizes})
            if ask(f"{question}? (yes/no) ").strip().lower() in ("y", "yes"):
                allowed.add(scan)
    if Scan.BANNERS in allowed and Scan.PORTS not in allowed:
        raise UsageError("banners are listened to on open ports", hint="--scan ports,banners")
    return frozenset(allowed)


def _has_place(scan: Scan, given: Mapping[str, Any]) -> bool:
    match scan:
        case Scan.MODBUS:
            return bool(given["modbus_tcp"] or given["modbus_rtu"])
        case Scan.CAN | Scan.UDS | Scan.CONSOLE:
            return bool(given[scan.value])
        case _:
            return bool(given["address"])
