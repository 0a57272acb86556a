"""Serial adapters: which are there, who may open them, who has them. None is opened: that may reset a device."""

from __future__ import annotations

import grp
import os
import pwd
import re
import stat
from pathlib import Path

from serial.tools import list_ports
from serial.tools.list_ports_common import ListPortInfo

from harness.doctor.finding import Finding, State

__all__ = ["adapter", "held_by", "serial_adapters"]

BY_ID = Path("/dev/serial/by-id")


def serial_adapters() -> list[Finding]:
    """Look at every serial adapter of the host, needed or not."""
    ports = sorted(list_ports.comports(), key=lambda port: str(port.device))
    found = [Finding("serial adapters", State.UNNEEDED, "none is there")] if not ports else []
    for port in ports:
        one = adapter(f"serial {port.device}", Path(port.device))
        # Nobody has asked for this one: it cannot be missing.
        state = State.DOUBTFUL if one.state is State.MISSING else one.state
        found.append(Finding(one.what, state, f"{_name(port)}; {one.seen}", one.remedy))
    return found


def adapter(what: str, path: Path) -> Finding:
    """Say of a serial device whether it is there, whether this user may open it, and who has it."""
    if not path.exists():
        there = sorted(port.device for port in list_ports.comports())
        seen = f"{path} is not there; there are: {', '.join(map(str, there)) or 'none'}"
        return Finding(
            what, State.MISSING, seen, "plug it in, or correct links in the rig file (see /dev/serial/by-id)"
        )
    device = path.stat()
    if not stat.S_ISCHR(device.st_mode):
        return Finding(what, State.MISSING, f"{path} is no device", "give the path of a serial device in the rig file")
    who = f"{stat.filemode(device.st_mode)} {_user(device.st_uid)} {_group(device.st_gid)}"
    if not os.access(path, os.R_OK | os.W_OK, effective_ids=True):
        return Finding(what, State.MISSING, f"{path} may not be opened by {_me()}: {who}", _way_in(path, device))
    holders = held_by(path)
    if locked := [name for name, locks in holders.items() if locks]:
        remedy = "wait until that run is over, or stop that program"
        return Finding(what, State.MISSING, f"{path} is in use by {', '.join(locked)}", remedy)
    if holders:
        remedy = "stop that program: two readers take bytes from each other"
        return Finding(what, State.DOUBTFUL, f"{path} is open in {', '.join(holders)}", remedy)
    seen = f"{path} may be opened by {_me()} ({who}); nobody has it, as far as {_me()} can see"
    if re.fullmatch(r"tty(USB|ACM)\d+", path.name):
        remedy = f"name it by {BY_ID}/…: this number is that of the order in which adapters were plugged in"
        return Finding(what, State.DOUBTFUL, seen, remedy)
    return Finding(what, State.GOOD, seen)


def held_by(path: Path) -> dict[str, bool]:
    """Return who has a file open, `process PID (NAME)`, and whether with a lock, as far as this user may see.

    A run opens its serial adapters with a lock (flock), and refuses those that another one has.
    """
    file = path.stat()
    found: dict[str, bool] = {}
    place = f"{os.major(file.st_dev):02x}:{os.minor(file.st_dev):02x}:{file.st_ino}"
    for line in _lines(Path("/proc/locks")):
        words = line.split()  # number, type, mode, access, process, device and inode, from, to
        if len(words) == 8 and words[1] == "FLOCK" and words[5] == place:
            found[_process(words[4])] = True
    real = os.path.realpath(path)
    for process in Path("/proc").glob("[0-9]*"):
        try:
            open_files = {str(each.readlink()) for each in (process / "fd").iterdir()}
        except OSError:
            continue  # another user's, or gone by now
        if real in open_files and process.name != str(os.getpid()):
            found.setdefault(_process(process.name), False)
    return found


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def _process(number: str) -> str:
    return f"process {number} ({' '.join(_lines(Path('/proc') / number / 'comm')) or 'unknown'})"


def _way_in(path: Path, device: os.stat_result) -> str:
    """Say how this user gets leave to open a device."""
    group = _group(device.st_gid)
    if device.st_gid != 0 and stat.S_IMODE(device.st_mode) & 0o060 == 0o060:
        user = pwd.getpwuid(os.geteuid()).pw_name if _known(os.geteuid()) else str(os.geteuid())
        if user in _members(device.st_gid):
            return f"{user} is in the group {group}, but was not when logging in: log out and in again"
        return f"sudo usermod -aG {group} {user}, then log out and in again"
    match = "".join(
        f', ATTRS{{idVendor}}=="{port.vid:04x}", ATTRS{{idProduct}}=="{port.pid:04x}"'
        for port in list_ports.comports()
        if os.path.realpath(port.device) == os.path.realpath(path) and port.vid is not None and port.pid is not None
    )
    rule = f'SUBSYSTEM=="tty"{match or ", KERNEL==" + chr(34) + Path(os.path.realpath(path)).name + chr(34)}'
    rule += ', GROUP="dialout", MODE="0660"'
    return f"write {rule} to /etc/udev/rules.d/60-proofrig.rules, plug it in again, and be in the group dialout"


def _known(uid: int) -> bool:
    return any(entry.pw_uid == uid for entry in pwd.getpwall())


def _members(gid: int) -> set[str]:
    try:
        members = set(grp.getgrgid(gid).gr_mem)
    except KeyError:
        return set()
    return members | {entry.pw_name for entry in pwd.getpwall() if entry.pw_gid == gid}


def _user(uid: int) -> str:
    return pwd.getpwuid(uid).pw_name if _known(uid) else str(uid)


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _me() -> str:
    return _user(os.geteuid())


def _name(port: ListPortInfo) -> str:
    """What an adapter says it is: its own words, cleaned where they are shown."""
    said = [str(part) for part in (port.manufacturer, port.product, port.serial_number) if part]
    links = [str(link) for link in BY_ID.glob("*") if os.path.realpath(link) == os.path.realpath(port.device)]
    return " ".join([*(said or [str(port.description)]), *links])
