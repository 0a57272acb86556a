#!/usr/bin/env python3
"""Builds the emulated VP-1 infusion pump: `python firmware-fixtures/infusion-pump/build.py [--out DIR] [--relock]`.

Needs no root. What it needs from the host is listed in README.md. A second call with the same inputs
returns at once. Standard library only.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FIXTURE = Path(__file__).resolve().parent
sys.path.insert(1, str(FIXTURE.parent))

from building import bundles, image, packages, programs, rauc, rootfs  # noqa: E402 - found by the line above
from description import description  # noqa: E402
from fixture_build.debian import locked_packages  # noqa: E402
from fixture_build.frame import Call, Frame, Versions, sha256  # noqa: E402

LOCK = FIXTURE / "packages.lock"
U_BOOT = Path("/usr/lib/u-boot/qemu_arm64/u-boot.bin")
HOST_PACKAGES = (
    "qemu-system-arm", "u-boot-qemu", "gcc-12-aarch64-linux-gnu", "binutils-aarch64-linux-gnu", "libc6-dev-arm64-cross",
    "e2fsprogs", "rauc", "squashfs-tools",
)  # fmt: skip
FLASHES = {"flash-hardened.img": -2, "flash-bootloader-prompt.img": 2}


def make(call: Call) -> None:
    """Make disk, flashes, boot loader and update bundles."""
    work, out, store = call.work, call.out, call.out / "packages"
    locked = locked_packages(
        LOCK, store, needed=packages.NAMES, resolve=lambda: packages.resolve(work), relock=call.relock
    )
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


def describe(host: Versions) -> Mapping[str, Any]:
    """What a runner needs to know, beside what every build writes."""
    version = (FIXTURE / "rootfs/etc/vp1/version").read_text().strip()
    return {
        **description(FIXTURE),
        "version": version,
        "qemu_package": host["qemu-system-arm"],
        "packages_lock_sha256": sha256(LOCK),
    }


FRAME = Frame(
    folder=FIXTURE,
    title="VP-1 infusion pump",
    host_packages=HOST_PACKAGES,
    inputs=(
        "packages.lock", "src", "boot", "rootfs", "dropbear", "bench-keys", "unit-keys", "update-keys",
    ),
    outputs=("disk.qcow2", "u-boot.bin", *FLASHES),
    bundles=f"bundles/{bundles.INDEX}",
    make=make,
    describe=describe,
)  # fmt: skip

if __name__ == "__main__":
    sys.exit(FRAME.main())
