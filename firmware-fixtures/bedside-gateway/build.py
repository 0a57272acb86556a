#!/usr/bin/env python3
"""Builds the emulated BG-4 bedside gateway: `python firmware-fixtures/bedside-gateway/build.py [--out DIR] [--relock]`.

Needs no root. What it needs from the host is listed in README.md. A second call with the same inputs returns at once.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import json
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from building import packages, programs, repositories, rootfs
from building.tools import BuildError, progress, run

FIXTURE = Path(__file__).resolve().parent
REPOSITORY = FIXTURE.parents[1]
LOCK = FIXTURE / "packages.lock"
VERSION = "1.0.0"
HOST_PACKAGES = ("qemu-system-x86", "qemu-utils", "gcc-12", "libc6-dev", "e2fsprogs", "gnupg", "cpio", "kmod")
"""Host packages whose versions decide the bytes of the image, or how it runs."""
OUTPUTS = ("vmlinuz", "system.cpio.gz", "data.qcow2")


def main() -> int:
    parser = argparse.ArgumentParser(description="Build the emulated BG-4 bedside gateway.")
    parser.add_argument("--out", type=Path, default=REPOSITORY / ".build" / "bedside-gateway")
    parser.add_argument("--relock", action="store_true", help="take the newest packages and rewrite packages.lock")
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
            _describe(out, host)
            progress(f"up to date: {out / 'device.json'}")
            return
        (out / "device.json").unlink(missing_ok=True)
        store = out / "packages"
        locked = packages.locked_packages(LOCK, store, relock=relock)
        with tempfile.TemporaryDirectory(prefix="work-", dir=out) as work:
            _build(Path(work), out, locked, store)
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


def _build(work: Path, out: Path, locked: list[packages.Package], store: Path) -> None:
    sysroot, built, tree = work / "sysroot", work / "programs", work / "tree"
    programs.unpack_sysroot(locked, store=store, sysroot=sysroot)
    programs.build_programs(FIXTURE / "src", sysroot=sysroot, out=built)
    rootfs.build_tree(sysroot, fixture=FIXTURE, programs=built, version=VERSION, tree=tree)
    rootfs.pack(tree, out / "system.cpio.gz")
    rootfs.build_data(work, out / "data.qcow2")
    shutil.copy(rootfs.kernel_image(sysroot), out / "vmlinuz")
    repositories.build_bundles(tree / "opt/bg4/app", keys=FIXTURE / "update-keys", work=work, out=out / "bundles")


def _sha256(file: Path) -> str:
    with file.open("rb") as reader:
        return hashlib.file_digest(reader, "sha256").hexdigest()


def _inputs_hash(host: dict[str, str]) -> str:
    """Everything that decides the image: our files but for its description, the lock, the host's tools."""
    digest = hashlib.sha256(json.dumps(host, sort_keys=True).encode())
    folders = ("building", "src", "rootfs", "bench-keys", "unit-keys", "update-keys")
    files = [LOCK, FIXTURE / "build.py", *(path for name in folders for path in (FIXTURE / name).rglob("*"))]
    for file in sorted(path for path in files if path.is_file() and path.suffix not in (".pyc", ".md")):
        digest.update(f"{file.relative_to(FIXTURE)}\0{_sha256(file)}\n".encode())
    return digest.hexdigest()


def _is_current(out: Path, host: dict[str, str]) -> bool:
    try:
        made = json.loads((out / "device.json").read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return False
    if not (out / "bundles" / repositories.INDEX).exists():
        return False
    return made.get("inputs_sha256") == _inputs_hash(host) and all(
        (out / name).exists() and (out / name).stat().st_size == made["images"][name]["bytes"] for name in OUTPUTS
    )


def _describe(out: Path, host: dict[str, str]) -> None:
    """Write device.json: all that a runner needs to know. Names in {braces} are for the runner to fill in."""
    known = re.findall(r"^  - name: (\S+)$", (FIXTURE / "weaknesses.yaml").read_text(), re.M)
    description = {
        "schema": 2,
        "device": "bedside-gateway",
        "model": "BG-4",
        "serial": "BG4-2207",
        "version": VERSION,
        "qemu": "qemu-system-x86_64",
        "qemu_package": host["qemu-system-x86"],
        "machine": ["-M", "pc", "-cpu", "max"],
        "arguments": [
            "-kernel", "{kernel}",
            "-initrd", "{system}",
            "-append", "console=ttyS0 quiet panic=1 random.trust_cpu=on",
            "-fw_cfg", "name=opt/proofrig/weaknesses,string={weaknesses}",
            "-drive", "if=none,id=d0,format=qcow2,file={disk}",
            "-device", "virtio-blk-pci,drive=d0,romfile=",
            # guest_announce off: else QEMU 7.2 without announcements crashes when a clone is reset
            "-device", "virtio-net-pci,netdev={netdev},mac=52:54:00:50:04:01,romfile=,guest_announce=off",
            "-device", "virtio-serial-pci",
            "-device", "virtserialport,chardev={agent_chardev},name=proofrig.agent",
            "-serial", "chardev:{console_chardev}",
        ],
        "memory_mb": 256,
        "files": {"kernel": "vmlinuz", "system": "system.cpio.gz", "disk": "data.qcow2"},
        "weaknesses": {name: {} for name in known},
        "ready": {"console": "BG-4 up", "within_s": 30.0},
        "network": {"address": "192.0.2.10/24", "address6": "2001:db8::10/64", "mac": "52:54:00:50:04:01"},
        "host_packages": host,
        "packages_lock_sha256": _sha256(LOCK),
        "inputs_sha256": _inputs_hash(host),
        "images": {name: {"sha256": _sha256(out / name), "bytes": (out / name).stat().st_size} for name in OUTPUTS},
    }  # fmt: skip
    partial = out / "device.json.new"
    partial.write_text(json.dumps(description, indent=2) + "\n")
    partial.replace(out / "device.json")


if __name__ == "__main__":
    sys.exit(main())
