#!/usr/bin/env python3
"""Builds the emulated SD-200 syringe driver: `python firmware-fixtures/syringe-driver/build.py [--out DIR] [--relock]`.

Needs no root and no network. What it needs from the host is listed in README.md. A second call with the same inputs
returns at once.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FIXTURE = Path(__file__).resolve().parent
sys.path.insert(1, str(FIXTURE.parent))

from building import images, programs  # noqa: E402 - found by the line above
from building.unit import EEPROM_SIZE, load_unit  # noqa: E402
from fixture_build.frame import Call, Frame, Versions  # noqa: E402
from fixture_build.tools import BuildError, progress, run  # noqa: E402

LOCK = FIXTURE / "toolchain.lock"
COMPILERS = ("gcc-arm-none-eabi", "binutils-arm-none-eabi", "picolibc-arm-none-eabi")
WEAKNESS_ADDRESS = 0x203FFF00
"""WEAKNESS_WORDS of src/common/board.h."""


def make(call: Call) -> None:
    """Make boot loader, EEPROM and update images, and compare what the toolchain made with the lock."""
    work, out = call.work, call.out
    keys = FIXTURE / "update-keys"
    unit = load_unit(FIXTURE / "unit/unit.json")
    boot = programs.build_boot(FIXTURE, unit=unit.source(keys / "maker.key"), work=work)
    payload = programs.build_application(FIXTURE, work=work)
    progress(f"boot loader {len(boot)} bytes, application {len(payload)} bytes")
    image = images.make_image(payload, images.Image(images.VERSION, "accepted"), keys=keys)
    eeprom = unit.eeprom(image)
    if len(eeprom) != EEPROM_SIZE:
        raise BuildError("the image is too large for its slot")
    images.write_images(payload, keys=keys, out=out / "bundles")
    (out / "boot.bin").write_bytes(boot)
    raw = work / "eeprom.bin"
    raw.write_bytes(eeprom)
    run(["qemu-img", "convert", "-q", "-f", "raw", "-O", "qcow2", raw, out / "disk.qcow2"])
    made = {"boot": hashlib.sha256(boot).hexdigest(), "eeprom": hashlib.sha256(eeprom).hexdigest()}
    _check_lock(call.host, made, relock=call.relock)


def _check_lock(host: Versions, made: dict[str, str], *, relock: bool) -> None:
    """The same sources and toolchain must make the same bytes; another toolchain is told, not refused.

    Raises:
        BuildError: same sources, same toolchain, other bytes.
    """
    now = {"sources": FRAME.inputs_sha256(), "toolchain": {name: host[name] for name in COMPILERS}, "sha256": made}
    locked = json.loads(LOCK.read_text()) if LOCK.exists() else None
    if relock or locked is None:
        LOCK.write_text(json.dumps(now, indent=2) + "\n")
    elif locked["sources"] != now["sources"]:
        progress("toolchain.lock is of other sources: --relock writes it anew")
    elif locked["toolchain"] != now["toolchain"]:
        progress(f"not the toolchain of toolchain.lock ({locked['toolchain']}): the bytes may differ")
    elif locked["sha256"] != made:
        raise BuildError("the bytes differ from toolchain.lock's, with its sources and its toolchain")


def weakness_bits() -> dict[str, int]:
    """Bit of each weakness, by name: its place in src/common/weaknesses.def."""
    names = re.findall(r'^WEAKNESS\(\w+, "([a-z-]+)"\)$', (FIXTURE / "src/common/weaknesses.def").read_text(), re.M)
    return {name: bit for bit, name in enumerate(names)}


def describe(host: Versions) -> Mapping[str, Any]:
    """What a runner needs to know, beside what every build writes."""
    return {
        "model": images.MODEL,
        "serial": load_unit(FIXTURE / "unit/unit.json").serial,
        "version": images.VERSION,
        "qemu": "qemu-system-arm",
        "qemu_package": host["qemu-system-arm"],
        "machine": ["-M", "mps2-an385"],
        "arguments": [
            "-kernel", "{boot}",
            # written through: the EEPROM never flushes, and a killed QEMU would take its overlay's tables with it
            "-drive", "if=none,id=d0,format=qcow2,file={disk},cache.writeback=off,cache.no-flush=on",
            "-device", f"at24c-eeprom,drive=d0,rom-size={EEPROM_SIZE},address=0x50",
            "-device", f"loader,addr={WEAKNESS_ADDRESS:#x},data={{weakness_mask}},data-len=8",
            "-serial", "chardev:{vendor_chardev}",
            "-serial", "chardev:{modbus_chardev}",
            "-serial", "chardev:{console_chardev}",
            "-serial", "chardev:{agent_chardev}",
        ],
        "memory_mb": 16,
        "files": {"boot": "boot.bin", "disk": "disk.qcow2"},
        "weaknesses": {name: {"bit": bit} for name, bit in weakness_bits().items()},
        "ready": {"console": f"{images.MODEL} up", "within_s": 20.0},
    }  # fmt: skip


FRAME = Frame(
    folder=FIXTURE,
    title="SD-200 syringe driver",
    host_packages=(*COMPILERS, "qemu-system-arm", "qemu-utils"),
    inputs=("src", "third-party", "unit", "update-keys"),
    outputs=("disk.qcow2", "boot.bin"),
    bundles=f"bundles/{images.INDEX}",
    make=make,
    describe=describe,
)

if __name__ == "__main__":
    sys.exit(FRAME.main())
