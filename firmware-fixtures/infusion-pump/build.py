#!/usr/bin/env python3
"""Builds the emulated VP-1 infusion pump: `python firmware-fixtures/infusion-pump/build.py [--out DIR]`.

Needs no root. What it needs from the host is listed in README.md. A second call with the same inputs
returns at once. Standard library only.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from building import bundles, image, packages, programs, rauc, rootfs
from building.tools import BuildError, progress, run
from description import write_description

FIXTURE = Path(__file__).resolve().parent
REPOSITORY = FIXTURE.parents[1]
LOCK = FIXTURE / "packages.lock"
U_BOOT = Path("/usr/lib/u-boot/qemu_arm64/u-boot.bin")
HOST_PACKAGES = (
    "qemu-system-arm", "u-boot-qemu", "gcc-12-aarch64-linux-gnu", "binutils-aarch64-linux-gnu", "libc6-dev-arm64-cross",
    "e2fsprogs", "rauc", "squashfs-tools",
)  # fmt: skip
"""Host packages whose versions decide the bytes of the image (or how it runs)."""
FLASHES = {"flash-hardened.img": -2, "flash-bootloader-prompt.img": 2}


def main() -> int:
    parser = argparse.ArgumentParser(description="Build the emulated VP-1 infusion pump.")
    parser.add_argument("--out", type=Path, default=REPOSITORY / ".build" / "infusion-pump")
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
        if not relock and LOCK.exists() and _is_current(out, host):
            _describe(out, host)
            progress(f"up to date: {out / 'device.json'}")
            return
        (out / "device.json").unlink(missing_ok=True)
        for old in _outputs(out):
            old.unlink(missing_ok=True)
        store = out / "packages"
        locked = _packages(store, relock=relock, work=out)
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


def _packages(store: Path, *, relock: bool, work: Path) -> list[packages.Package]:
    locked = [] if relock else packages.read_lock(LOCK)
    if locked and (absent := packages.absent_from(locked)):
        progress(f"packages.lock lacks {', '.join(absent)}")
        locked = []
    gone = packages.fetch_locked(locked, store)
    if locked and not gone:
        return locked
    for package in gone:
        progress(f"no mirror has {package.name} {package.version} any more")
    fresh = packages.resolve(work)
    if packages.fetch_locked(fresh, store):
        raise BuildError("the mirror lists packages that it does not have; try again later")
    before = packages.read_lock(LOCK)
    packages.write_lock(LOCK, fresh)
    after = packages.read_lock(LOCK)
    if after == before:
        progress("packages.lock is up to date")
    else:
        progress("packages.lock CHANGED: this is not the image of the old lock; review and commit it")
    return after


def _build(work: Path, out: Path, locked: list[packages.Package], store: Path) -> None:
    sysroot, built, tree = work / "sysroot", work / "programs", work / "root"
    programs.unpack_sysroot(locked, store=store, sysroot=sysroot)
    programs.build_programs(FIXTURE / "src", sysroot=sysroot, out=built)
    programs.build_dropbear(locked, store=store, options=FIXTURE / "dropbear/localoptions.h", cache=out, out=built)
    rauc.build_rauc(locked, store=store, sysroot=sysroot, cache=out, out=built)
    initrd, slot, data = work / "initrd", work / "slot.ext4", work / "data.ext4"
    rootfs.build_initrd(sysroot, init=FIXTURE / "boot/init", tree=work / "initrd-tree", out=initrd)
    empty = work / "empty.ext4"
    image.build_empty_data(work / "empty-tree", empty)
    rootfs.build_root(sysroot, fixture=FIXTURE, programs=built, initrd=initrd, empty_data=empty, tree=tree)
    image.build_slot(tree, slot)
    image.build_data(work / "data-tree", data)
    image.build_disk(slot=slot, data=data, state_text=FIXTURE / "boot/state.env", work=work, out=out / "disk.qcow2")
    for name, bootdelay in FLASHES.items():
        image.build_flash(FIXTURE / "boot/u-boot.env", bootdelay=bootdelay, work=work, out=out / name)
    shutil.copy(U_BOOT, out / "u-boot.bin")
    bundles.build_bundles(tree=tree, base=slot, keys=FIXTURE / "update-keys", work=work, out=out / "bundles")


def _sha256(file: Path) -> str:
    with file.open("rb") as reader:
        return hashlib.file_digest(reader, "sha256").hexdigest()


def _inputs_hash(host: dict[str, str]) -> str:
    """Everything that decides the image: our files but for its description, the lock, the host's tools."""
    digest = hashlib.sha256(json.dumps(host, sort_keys=True).encode())
    folders = ("building", "src", "boot", "rootfs", "dropbear", "bench-keys", "unit-keys", "update-keys")
    files = [LOCK, FIXTURE / "build.py", *(p for name in folders for p in (FIXTURE / name).rglob("*"))]
    for file in sorted(p for p in files if p.is_file() and p.suffix != ".pyc"):
        digest.update(f"{file.relative_to(FIXTURE)}\0{_sha256(file)}\n".encode())
    return digest.hexdigest()


def _outputs(out: Path) -> list[Path]:
    return [out / "disk.qcow2", out / "u-boot.bin", *(out / name for name in FLASHES)]


def _is_current(out: Path, host: dict[str, str]) -> bool:
    try:
        made = json.loads((out / "device.json").read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return False
    if not (out / "bundles" / bundles.INDEX).exists():
        return False
    return made.get("inputs_sha256") == _inputs_hash(host) and all(
        file.exists() and file.stat().st_size == made["images"][file.name]["bytes"] for file in _outputs(out)
    )


def _describe(out: Path, host: dict[str, str]) -> None:
    version = (FIXTURE / "rootfs/etc/vp1/version").read_text().strip()
    made = {
        "version": version,
        "qemu_package": host["qemu-system-arm"],
        "host_packages": host,
        "packages_lock_sha256": _sha256(LOCK),
        "inputs_sha256": _inputs_hash(host),
        "images": {file.name: {"sha256": _sha256(file), "bytes": file.stat().st_size} for file in _outputs(out)},
    }
    write_description(out / "device.json", fixture=FIXTURE, made=made)


if __name__ == "__main__":
    sys.exit(main())
