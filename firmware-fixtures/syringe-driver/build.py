#!/usr/bin/env python3
"""Builds the emulated SD-200 syringe driver: `python firmware-fixtures/syringe-driver/build.py [--out DIR] [--relock]`.

Needs no root and no network. What it needs from the host is listed in README.md. A second call with the same inputs
returns at once.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import json
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from building import images, programs
from building.tools import BuildError, progress, run
from building.unit import EEPROM_SIZE, load_unit

FIXTURE = Path(__file__).resolve().parent
REPOSITORY = FIXTURE.parents[1]
LOCK = FIXTURE / "toolchain.lock"
COMPILERS = ("gcc-arm-none-eabi", "binutils-arm-none-eabi", "picolibc-arm-none-eabi")
HOST_PACKAGES = (*COMPILERS, "qemu-system-arm", "qemu-utils")
"""Host packages whose versions decide the bytes, or how they run."""
WEAKNESS_ADDRESS = 0x203FFF00
"""WEAKNESS_WORDS of src/common/board.h."""


def main() -> int:
    parser = argparse.ArgumentParser(description="Build the emulated SD-200 syringe driver.")
    parser.add_argument("--out", type=Path, default=REPOSITORY / ".build" / "syringe-driver")
    parser.add_argument("--relock", action="store_true", help="write down this toolchain and the bytes it makes")
    options = parser.parse_args()
    try:
        build(options.out.resolve(), relock=options.relock)
    except BuildError as reason:
        print(f"build.py: {reason}", file=sys.stderr)
        return 1
    return 0


def build(out: Path, *, relock: bool) -> None:
    """Bring `out` up to date with the inputs."""
    out.mkdir(parents=True, exist_ok=True)
    with _alone(out):
        host = _host_versions()
        if not relock and _is_current(out, host):
            progress(f"up to date: {out / 'device.json'}")
            return
        (out / "device.json").unlink(missing_ok=True)
        with tempfile.TemporaryDirectory(prefix="work-", dir=out) as work:
            made = _build(Path(work), out)
        _check_lock(host, made, relock=relock)
        _describe(out, host)
        progress(f"done: {out / 'device.json'}")


@contextlib.contextmanager
def _alone(out: Path) -> Iterator[None]:
    with (out / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _host_versions() -> dict[str, str]:
    rows = run(["dpkg-query", "-W", "-f", "${Package} ${Version}\n", *HOST_PACKAGES])
    return dict(line.split() for line in rows.splitlines())


def _build(work: Path, out: Path) -> dict[str, str]:
    """Make every file; the hashes of what the toolchain made."""
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
    return {"boot": hashlib.sha256(boot).hexdigest(), "eeprom": hashlib.sha256(eeprom).hexdigest()}


def _check_lock(host: dict[str, str], made: dict[str, str], *, relock: bool) -> None:
    """The same sources and toolchain must make the same bytes; another toolchain is told, not refused.

    Raises:
        BuildError: same sources, same toolchain, other bytes.
    """
    now = {"sources": _sources_hash(), "toolchain": {name: host[name] for name in COMPILERS}, "sha256": made}
    locked = json.loads(LOCK.read_text()) if LOCK.exists() else None
    if relock or locked is None:
        LOCK.write_text(json.dumps(now, indent=2) + "\n")
    elif locked["sources"] != now["sources"]:
        progress("toolchain.lock is of other sources: --relock writes it anew")
    elif locked["toolchain"] != now["toolchain"]:
        progress(f"not the toolchain of toolchain.lock ({locked['toolchain']}): the bytes may differ")
    elif locked["sha256"] != made:
        raise BuildError("the bytes differ from toolchain.lock's, with its sources and its toolchain")


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _sources_hash() -> str:
    digest = hashlib.sha256()
    folders = ("building", "src", "third-party", "unit", "update-keys")
    files = [FIXTURE / "build.py", *(p for name in folders for p in (FIXTURE / name).rglob("*"))]
    for file in sorted(p for p in files if p.is_file() and p.suffix not in (".pyc", ".md")):
        digest.update(f"{file.relative_to(FIXTURE)}\0{_sha256(file)}\n".encode())
    return digest.hexdigest()


def _inputs_hash(host: dict[str, str]) -> str:
    return hashlib.sha256((json.dumps(host, sort_keys=True) + _sources_hash()).encode()).hexdigest()


def _outputs(out: Path) -> list[Path]:
    return [out / "disk.qcow2", out / "boot.bin"]


def _is_current(out: Path, host: dict[str, str]) -> bool:
    try:
        made = json.loads((out / "device.json").read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return False
    if not (out / "bundles" / images.INDEX).exists():
        return False
    return made.get("inputs_sha256") == _inputs_hash(host) and all(
        file.exists() and _sha256(file) == made["images"][file.name]["sha256"] for file in _outputs(out)
    )


def weakness_bits() -> dict[str, int]:
    """Bit of each weakness, by name: its place in src/common/weaknesses.def."""
    names = re.findall(r'^WEAKNESS\(\w+, "([a-z-]+)"\)$', (FIXTURE / "src/common/weaknesses.def").read_text(), re.M)
    return {name: bit for bit, name in enumerate(names)}


def _describe(out: Path, host: dict[str, str]) -> None:
    """Write device.json: all that a runner needs to know. Names in {braces} are for the runner to fill in."""
    description = {
        "schema": 2,
        "device": "syringe-driver",
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
        "ready": {"console": f"{images.MODEL} up", "within_s": 5.0},
        "host_packages": host,
        "inputs_sha256": _inputs_hash(host),
        "images": {file.name: {"sha256": _sha256(file), "bytes": file.stat().st_size} for file in _outputs(out)},
    }  # fmt: skip
    partial = out / "device.json.new"
    partial.write_text(json.dumps(description, indent=2) + "\n")
    partial.replace(out / "device.json")


if __name__ == "__main__":
    sys.exit(main())
