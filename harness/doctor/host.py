"""The host itself: its clocks, the room on its disks, and the programs and files that a rig names."""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from harness.doctor.finding import Finding, State
from harness.record_file import SPARE

__all__ = ["ClockStart", "bench_address", "clock", "files", "programs", "room", "route", "time_zone"]

MB = 2**20
RUN = 256 * MB
"""Room a run of every testcase fits in by far: one of the emulated pump left 18 MB."""

STEP_S = 0.02
"""Seconds by which UTC may move against the monotonic clock while the doctor works: more is a step, not slewing."""

_TIME_ERROR = 5
"""What adjtimex(2) returns while the kernel's clock is not synchronised."""


class _Timex(ctypes.Structure):
    """The beginning of `struct timex` (adjtimex(2)); the rest is kept free for the kernel to fill."""

    _fields_ = [
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    ]


class ClockStart:
    """UTC and the monotonic clock at one instant, to be compared with a later one."""

    def __init__(self) -> None:
        self.monotonic = time.monotonic()
        self.utc = time.time()

    def moved(self) -> tuple[float, float]:
        """Return by how many seconds UTC has moved against the monotonic clock, and in how many seconds."""
        since = time.monotonic() - self.monotonic
        return time.time() - self.utc - since, since


def clock(start: ClockStart) -> list[Finding]:
    """Ask the kernel whether its clock is synchronised, and say how UTC moved since `start`."""
    kernel = _Timex()
    libc = ctypes.CDLL(None, use_errno=True)
    state = libc.adjtimex(ctypes.byref(kernel))  # modes 0: only read
    remedy = "run a time service (systemd-timesyncd, chrony) and wait until it has the time"
    what = "clock"
    if state < 0:
        seen = f"the kernel does not say: {os.strerror(ctypes.get_errno())}"
        found = Finding(what, State.DOUBTFUL, seen, remedy)
    elif state == _TIME_ERROR:
        found = Finding(
            what, State.DOUBTFUL, "not synchronised, says the kernel: times in the record may be off", remedy
        )
    else:
        found = Finding(what, State.GOOD, f"synchronised, to {kernel.maxerror / 1000:.0f} ms at most, says the kernel")
    moved, since = start.moved()
    seen = f"UTC moved by {moved * 1000:+.1f} ms against the monotonic clock in {since:.1f} s"
    steady = abs(moved) <= STEP_S
    drift = Finding(
        "clock, drift",
        State.GOOD if steady else State.DOUBTFUL,
        seen,
        "" if steady else "let the clock settle, or see who sets it, before a run",
    )
    return [found, drift]


def time_zone() -> Finding:
    """Say which time zone the host has; the record is in UTC whatever it is."""
    now = datetime.now(UTC).astimezone()
    return Finding("time zone", State.GOOD, f"{now:%Z (UTC%z), now %Y-%m-%d %H:%M}; the record is in UTC")


def room(what: str, folder: Path, *, wanted: int = RUN) -> Finding:
    """Compare what is free for a folder, which need not be there yet, with what is needed, in bytes."""
    there = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())
    free = shutil.disk_usage(there).free
    seen = f"{free // MB} MB free at {there}"
    if not os.access(there, os.W_OK | os.X_OK, effective_ids=True):
        return Finding(
            what, State.MISSING, f"{there} may not be written", "work in a folder of your own, or give --run-dir"
        )
    if free < SPARE:
        seen += f"; without {SPARE // MB} MB before and after a testcase a run stops"
        return Finding(what, State.MISSING, seen, "make room, or give --run-dir")
    if free < wanted:
        return Finding(
            what, State.DOUBTFUL, f"{seen}; up to {wanted // MB} MB may be used", "make room, or give --run-dir"
        )
    return Finding(what, State.GOOD, seen)


def programs(what: str, names: Iterable[str]) -> Finding:
    """Look for the programs with which a rig switches power."""
    names = list(dict.fromkeys(names))
    absent = [name for name in names if shutil.which(name) is None]
    if absent:
        remedy = "install them, or correct control in the rig file"
        return Finding(what, State.MISSING, f"not on PATH: {', '.join(absent)}", remedy)
    remedy = "`proofrig rig check` does not switch it either: try by hand"
    return Finding(what, State.DOUBTFUL, f"{', '.join(names)}: there, not run", remedy)


def files(named: Iterable[tuple[str, Path]]) -> list[Finding]:
    """Look whether the files that a rig names, by their keys, can be read."""
    found = []
    for key, path in named:
        if path.is_dir() or os.access(path, os.R_OK, effective_ids=True):
            found.append(Finding(key, State.GOOD, f"{path} can be read"))
        else:
            seen = f"{path} {'may not be read' if path.exists() else 'is not there'}"
            found.append(Finding(key, State.MISSING, seen, "correct the path in the rig file, or make the file"))
    return found


def route(address: str) -> Finding:
    """Ask the kernel which way it would send to an address; nothing is sent."""
    what = f"way to {address}"
    remedy = "connect the bench to the device's network, and give the host an address there"
    try:
        family, kind, _, _, target = socket.getaddrinfo(address, 9, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as probe:
            probe.connect(target)  # of a datagram socket: the way is chosen, no packet leaves
            own = probe.getsockname()[0]
    except OSError as error:
        return Finding(what, State.MISSING, f"the kernel has no way there: {error.strerror}", remedy)
    return Finding(what, State.GOOD, f"the kernel would send from {own}; nothing was sent")


def bench_address(address: str) -> Finding:
    """Look whether the bench's own address is one of this host's."""
    what = f"bench address {address}"
    try:
        family, kind, _, _, own = socket.getaddrinfo(address, 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.bind(own)
    except OSError as error:
        remedy = "give it to an interface of this host, or correct bench_address"
        return Finding(what, State.MISSING, f"no address of this host: {error.strerror}", remedy)
    return Finding(what, State.GOOD, "an address of this host")
