"""A computer with USB serial adapters: own /dev and /sys/class/tty in a mount namespace, pseudo-terminals as adapters.

Run under `unshare --mount`. Arguments: folder, adapters as VID:PID:SERIAL (SERIAL may be empty) joined by spaces, user
id to be, then the ports to locate. Writes one JSON list of what each came to.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tty
from pathlib import Path

from harness.capture import CaptureFile
from harness.errors import ProofrigError
from harness.links.serial import open_serial
from harness.links.usb_port import locate

SYS = Path("/sys/class/tty")


def mount(*arguments: str | Path) -> None:
    subprocess.run(["mount", *map(str, arguments)], check=True)


def plug_in(folder: Path, adapters: list[str]) -> list[int]:
    """Build /dev and /sys with these adapters; return the far ends of their lines."""
    dev, classes = folder / "dev", folder / "class"
    for each in (dev, classes):
        each.mkdir()
    (dev / "pts").mkdir()
    mount("--make-rprivate", "/")
    mount("--rbind", "/dev/pts", dev / "pts")
    (classes / "usb-serial").mkdir()
    masters = []
    for number, adapter in enumerate(adapters):
        vid, pid, serial = adapter.split(":")
        master, slave = os.openpty()
        tty.setraw(slave)
        masters.append(master)
        (dev / f"ttyUSB{number}").touch()
        mount("--bind", os.ttyname(slave), dev / f"ttyUSB{number}")
        device = classes / f"usb/1-{number + 1}"
        port = device / f"1-{number + 1}:1.0/ttyUSB{number}"
        port.mkdir(parents=True)
        (port / "subsystem").symlink_to(SYS / "usb-serial")
        facts = {"idVendor": vid, "idProduct": pid, "serial": serial, "bNumInterfaces": "1", "bcdDevice": "0600"}
        for name, value in facts.items():
            if value:
                (device / name).write_text(f"{value}\n")
        (classes / f"ttyUSB{number}").mkdir()
        (classes / f"ttyUSB{number}/device").symlink_to(SYS / port.relative_to(classes))
    mount("--bind", classes, SYS)
    mount("--rbind", dev, "/dev")
    return masters


def main() -> None:
    folder, adapters, user, *ports = sys.argv[1:]
    masters = plug_in(Path(folder), adapters.split())
    if int(user):
        os.setresuid(int(user), int(user), int(user))
    said = []
    for port in ports:
        try:
            path = locate(port, name="console")
            tap = CaptureFile(Path(folder) / f"{len(said)}.cap")
            link = open_serial(port, baudrate=9600, name="console", tap=tap)
            link.send(b"hello")
            heard = os.read(masters[int(path.removeprefix("/dev/ttyUSB"))], 100).decode()
            link.close()
            said.append([path, heard])
        except ProofrigError as error:
            said.append([type(error).__name__, str(error)])
    sys.stdout.write(json.dumps(said))


main()
