#!/usr/bin/env python3
"""Builds the emulated BG-4 bedside gateway: `python firmware-fixtures/bedside-gateway/build.py [--out DIR] [--relock]`.

Needs no root. What it needs from the host is listed in README.md. A second call with the same inputs returns at once.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FIXTURE = Path(__file__).resolve().parent
sys.path.insert(1, str(FIXTURE.parent))

from building import packages, programs, repositories, rootfs  # noqa: E402 - found by the line above
from fixture_build.debian import locked_packages  # noqa: E402
from fixture_build.debian_tree import kernel_image  # noqa: E402
from fixture_build.frame import Call, Frame, Versions, sha256, weakness_names  # noqa: E402

LOCK = FIXTURE / "packages.lock"
VERSION = "1.0.0"


def make(call: Call) -> None:
    """Make kernel, system, data disk and update bundles."""
    work, out, store = call.work, call.out, call.out / "packages"
    locked = locked_packages(LOCK, store, needed=packages.NAMES, resolve=packages.resolve, relock=call.relock)
    sysroot, built, tree = work / "sysroot", work / "programs", work / "tree"
    programs.unpack_sysroot(locked, store=store, sysroot=sysroot)
    programs.build_programs(FIXTURE / "src", sysroot=sysroot, out=built)
    rootfs.build_tree(sysroot, fixture=FIXTURE, programs=built, version=VERSION, tree=tree)
    rootfs.pack(tree, out / "system.cpio.gz")
    rootfs.build_data(work, out / "data.qcow2")
    shutil.copy(kernel_image(sysroot), out / "vmlinuz")
    repositories.build_bundles(tree / "opt/bg4/app", keys=FIXTURE / "update-keys", work=work, out=out / "bundles")


def describe(host: Versions) -> Mapping[str, Any]:
    """What a runner needs to know, beside what every build writes."""
    return {
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
        "weaknesses": {name: {} for name in weakness_names(FIXTURE)},
        "ready": {"console": "BG-4 up", "within_s": 90.0},
        "network": {"address": "192.0.2.10/24", "address6": "2001:db8::10/64", "mac": "52:54:00:50:04:01"},
        "packages_lock_sha256": sha256(LOCK),
    }  # fmt: skip


FRAME = Frame(
    folder=FIXTURE,
    title="BG-4 bedside gateway",
    host_packages=("qemu-system-x86", "qemu-utils", "gcc-12", "libc6-dev", "e2fsprogs", "gnupg", "cpio", "kmod"),
    inputs=("packages.lock", "src", "rootfs", "bench-keys", "unit-keys", "update-keys"),
    outputs=("vmlinuz", "system.cpio.gz", "data.qcow2"),
    bundles=f"bundles/{repositories.INDEX}",
    make=make,
    describe=describe,
)

if __name__ == "__main__":
    sys.exit(FRAME.main())
