"""The options of `proofrig device init`, and how their texts are understood."""

from __future__ import annotations

import argparse
import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from harness.errors import UsageError

__all__ = ["IDENTITY", "PLACES", "Question", "Scan", "add_options", "as_baudrates", "as_ports", "as_units"]

BAUDRATES = (115200, 9600, 57600, 38400, 19200)
"""Speeds of a console that are tried, the usual ones first."""
GRADES = ("emulated", "engineering", "production-equivalent")
"""As in the rig file."""


class Scan(StrEnum):
    """What may be scanned; each is asked for or switched on by name."""

    PORTS = "ports"
    UDP = "udp"
    BANNERS = "banners"
    TLS = "tls"
    SSH = "ssh"
    MODBUS = "modbus"
    CAN = "can"
    UDS = "uds"
    CONSOLE = "console"


@dataclass(frozen=True, slots=True)
class Question:
    """One thing to be known: its option, the question on the terminal, and how an answer is understood."""

    name: str
    text: str
    understood: Callable[[str], Any]
    help: str
    metavar: str


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        if re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?", text):
            return text
        raise UsageError(f"{text!r} is no address and no name", hint="--address 192.0.2.10") from None


def _numbers(text: str, *, least: int, most: int) -> tuple[int, ...]:
    found: set[int] = set()
    for part in text.split(","):
        ends = re.fullmatch(r"\s*(\d{1,6})\s*(?:-\s*(\d{1,6})\s*)?", part)
        first, last = (int(ends[1]), int(ends[2] or ends[1])) if ends else (1, 0)
        if not least <= first <= last <= most:
            raise UsageError(f"{text!r} is no list of numbers from {least} to {most}", hint="like 1-1024,8443")
        found.update(range(first, last + 1))
    return tuple(sorted(found))


def as_ports(text: str) -> tuple[int, ...]:
    return _numbers(text, least=1, most=65535)


def as_units(text: str) -> tuple[int, ...]:
    return _numbers(text, least=0, most=255)


def as_baudrates(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    if not all(re.fullmatch(r"[1-9]\d{1,7}", part) for part in parts):
        raise UsageError(f"{text!r} is no list of speeds", hint="like 115200,9600")
    return tuple(map(int, parts))


def _socket(text: str) -> tuple[str, int]:
    found = re.fullmatch(r"\[?(?P<host>.+?)\]?(?::(?P<port>\d{1,5}))?", text)
    if found is None or not 1 <= int(found["port"] or 502) <= 65535:
        raise UsageError(f"{text!r} is no HOST:PORT", hint="like 192.0.2.10:502")
    return _address(found["host"]), int(found["port"] or 502)


def _uds(text: str) -> tuple[tuple[int, int], ...]:
    pairs = []
    for part in text.split(","):
        found = re.fullmatch(r"\s*(?:0x)?([0-9A-Fa-f]{1,8})\s*:\s*(?:0x)?([0-9A-Fa-f]{1,8})\s*", part)
        numbers = [int(each, 16) for each in found.groups()] if found else [1 << 29]
        if max(numbers) >= 1 << 29:
            raise UsageError(f"{text!r} is no pair of CAN identifiers", hint="REQUEST:RESPONSE, like 7E0:7E8")
        pairs.append((numbers[0], numbers[1]))
    return tuple(pairs)


def _text(text: str) -> str:
    return text.strip()


PLACES = (
    Question("address", "Address of the device on the network", _address, "address of the device", "HOST"),
    Question("modbus_tcp", "Modbus TCP, HOST:PORT", _socket, "Modbus TCP server; port 502 by default", "HOST:PORT"),
    Question("modbus_rtu", "Modbus RTU, serial port", _text, "serial port with Modbus RTU", "PORT"),
    Question("can", "CAN bus, like can0", _text, "channel of the CAN bus, like can0", "CHANNEL"),
    Question("uds", "UDS server, REQUEST:RESPONSE like 7E0:7E8", _uds, "CAN identifiers of UDS servers", "REQ:RESP,…"),
    Question("console", "Console, serial port", _text, "serial port of the console", "PORT"),
)  # fmt: skip

IDENTITY = (
    Question("manufacturer", "Manufacturer", _text, "who makes it", "TEXT"),
    Question("model", "Model, as the device shows it", _text, "model as the device shows it", "TEXT"),
    Question("kind", "What is it, in words", _text, "what it is, in words", "TEXT"),
    Question("version", "Full software version, as the device shows it", _text, "full software version", "TEXT"),
    Question("serial", "Serial number of this unit", _text, "serial number of this very unit", "TEXT"),
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what can be answered without a terminal."""
    parser.add_argument(
        "place", type=Path, metavar="PATH",
        help="device file to write (the rig file comes beside it), or a folder: devices/NAME.yaml and NAME.yaml in it",
    )  # fmt: skip
    parser.add_argument("--name", metavar="NAME", help="name of the device: small letters, digits and dashes")
    for question in (*IDENTITY, *PLACES):
        option = f"--{question.name.replace('_', '-')}"
        parser.add_argument(option, metavar=question.metavar, help=question.help)
    parser.add_argument(
        "--machine", type=Path, metavar="FILE",
        help="device.json of an emulated device: it is booted for the scan, its lines are control:NAME",
    )  # fmt: skip
    parser.add_argument(
        "--grade", choices=GRADES, help="grade of the unit (default: engineering, with --machine: emulated)"
    )
    parser.add_argument(
        "--scan", action="append", default=[], metavar="WHAT,…",
        help=f"scan this without being asked: {', '.join(Scan)}, or all that has an address",
    )  # fmt: skip
    parser.add_argument("--ports", default="1-65535", metavar="LIST", help="TCP ports to scan (default: all)")
    parser.add_argument("--ssh-port", type=int, default=22, metavar="PORT", help="port of the SSH server")
    parser.add_argument("--ssh-user", default="service", metavar="NAME", help="account for which methods are asked")
    parser.add_argument("--tls-ports", default="443", metavar="LIST", help="ports of TLS servers (default: 443)")
    parser.add_argument("--modbus-baudrate", type=int, default=19200, metavar="BAUD", help="speed of Modbus RTU")
    parser.add_argument("--modbus-parity", choices=["N", "E", "O"], default="E", help="parity of Modbus RTU")
    parser.add_argument("--units", default="1-10", metavar="LIST", help="Modbus units to ask (default: 1-10)")
    parser.add_argument("--can-interface", default="socketcan", metavar="NAME", help="as in the rig file")
    parser.add_argument("--can-port", metavar="PORT", help="with socketcand: unix:PATH or tcp:HOST:PORT")
    parser.add_argument("--bitrate", type=int, default=500000, metavar="N", help="bits a second on the CAN bus")
    parser.add_argument(
        "--listen", type=float, default=10.0, metavar="SECONDS", help="how long to listen to the CAN bus"
    )
    parser.add_argument(
        "--baudrates", default=",".join(map(str, BAUDRATES)), metavar="LIST", help="speeds of the console"
    )
    parser.add_argument(
        "--timeout", type=float, default=1.0, metavar="SECONDS", help="time for one answer (default: 1)"
    )
