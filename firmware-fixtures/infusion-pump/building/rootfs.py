"""Lays out the root file system and the initial RAM file system as plain trees."""

from __future__ import annotations

import base64
import gzip
import os
import shutil
import struct
from pathlib import Path

from fixture_build.debian_tree import install, install_busybox, install_libraries, install_modules, kernel_image
from fixture_build.tools import EPOCH, BuildError, progress, run

from building.programs import TRIPLE

DISK_MODULES = ("i6300esb", "virtio_pci", "virtio_blk", "ext4", "crc32c_generic")
"""Loaded before the root file system."""
DEVICE_MODULES = ("virtio_net", "kvaser_pci", "can-raw", "can-isotp", "qemu_fw_cfg", "virtio_console", "rtc-pl031")
"""Loaded by the pump's own start script."""
UPDATE_MODULES = ("loop", "squashfs", "dm-verity", "sha2-ce", "sha256_generic")
"""Loaded when an update is to be installed."""
APPLETS = (
    "sh", "init", "mount", "umount", "mkdir", "insmod", "cat", "echo", "sed", "seq", "sleep", "sysctl", "hostname",
    "hwclock", "stty", "chown", "chmod", "true", "false", "dd", "gunzip", "sync", "reboot", "rm", "touch", "grep",
)  # fmt: skip
INITRD_APPLETS = ("sh", "mount", "umount", "insmod", "sed", "switch_root")
DEBIAN_PROGRAMS = {
    "bin/ip": "sbin/ip",
    "usr/bin/fw_setenv": "usr/bin/fw_setenv",
    "usr/bin/fw_printenv": "usr/bin/fw_printenv",
    "usr/bin/unsquashfs": "usr/bin/unsquashfs",
}
OWN_PROGRAMS = {
    "vp1d": "usr/sbin/vp1d",
    "vp1-supervise": "usr/sbin/vp1-supervise",
    "vp1-updater": "usr/sbin/vp1-updater",
    "rauc": "usr/bin/rauc",
    "dropbear": "usr/sbin/dropbear",
    "vp1-menu": "usr/bin/vp1-menu",
    "bench-fifo": "opt/bench/bench-fifo",
    "benchd": "opt/bench/benchd",
}
SERVICE_UID = 1000


def build_initrd(sysroot: Path, *, init: Path, tree: Path, out: Path) -> None:
    """The initial RAM file system: drivers of disk and watchdog, then the slot."""
    progress("initial RAM file system")
    for folder in ("bin", "sbin", "proc", "dev", "slot", "lib"):
        (tree / folder).mkdir(parents=True)
    install_busybox(sysroot, tree, INITRD_APPLETS)
    shutil.copy(init, tree / "init")
    (tree / "init").chmod(0o755)
    install_modules(sysroot, tree, DISK_MODULES, listing="modules.order")
    _settle_times(tree)
    names = sorted(str(p.relative_to(tree)) for p in tree.rglob("*"))
    listing = tree.parent / "initrd.list"
    listing.write_text("\n".join(names) + "\n")
    run(["sh", "-c", f"cd '{tree}' && cpio --quiet --reproducible -o -H newc -R 0:0 <'{listing}' >'{out}'"])


def build_root(sysroot: Path, *, fixture: Path, programs: Path, initrd: Path, empty_data: Path, tree: Path) -> None:
    """The root file system of a slot. `empty_data` is the data partition as the factory reset leaves it."""
    progress("root file system")
    for folder in (
        "bin",
        "sbin",
        "usr/bin",
        "usr/sbin",
        "lib",
        "usr/lib",
        "opt/bench",
        "boot",
        "dev",
        "proc",
        "sys",
        "run",
        "tmp",
        "data",
        "root",
        "var",
        "home/service/.ssh",
    ):
        (tree / folder).mkdir(parents=True, exist_ok=True)
    shutil.copytree(fixture / "rootfs", tree, dirs_exist_ok=True)
    (tree / "var/run").symlink_to("/run")
    (tree / "var/lock").symlink_to("/run/lock")
    install_busybox(sysroot, tree, APPLETS)
    (tree / "sbin/init").symlink_to("/bin/busybox")
    for source, target in DEBIAN_PROGRAMS.items():
        install(sysroot / source, tree / target)
    for program, target in OWN_PROGRAMS.items():
        install(programs / program, tree / target)
    own = (*DEBIAN_PROGRAMS.values(), *OWN_PROGRAMS.values())
    install_libraries(sysroot, tree, programs=own, triple=TRIPLE)
    install_modules(sysroot, tree, DEVICE_MODULES, listing="etc/modules.order", skip=DISK_MODULES)
    loaded = DISK_MODULES + DEVICE_MODULES
    install_modules(sysroot, tree, UPDATE_MODULES, listing="etc/modules-update.order", skip=loaded)
    shutil.copy(fixture / "update-keys/maker-ca.pem", tree / "etc/rauc/maker-ca.pem")
    bench_key = (fixture / "bench-keys/bench_ed25519.pub").read_text()
    restrictions = "no-port-forwarding,no-agent-forwarding,no-X11-forwarding"
    (tree / "home/service/.ssh/authorized_keys").write_text(f"{restrictions} {bench_key}")
    shutil.copy(kernel_image(sysroot), tree / "boot/vmlinuz")
    shutil.copy(initrd, tree / "boot/initrd")
    packed = gzip.compress(empty_data.read_bytes(), compresslevel=9, mtime=EPOCH)
    (tree / "etc/vp1/empty-data.gz").write_bytes(packed)
    for path in tree.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
    _settle_times(tree)


def dropbear_key(openssh: Path) -> bytes:
    """An unencrypted OpenSSH Ed25519 private key in dropbear's own form."""
    body = "".join(line for line in openssh.read_text().splitlines() if not line.startswith("-"))
    blob = base64.b64decode(body)
    marker = b"\0\0\0\x0bssh-ed25519\0\0\0\x20"
    start = blob.rindex(marker) + len(marker)
    (size,) = struct.unpack_from(">I", blob, start + 32)
    pair = blob[start + 36 : start + 36 + size]
    if size != 64:
        raise BuildError(f"{openssh}: not an unencrypted Ed25519 key")
    return b"\0\0\0\x0bssh-ed25519\0\0\0\x40" + pair


def _settle_times(tree: Path) -> None:
    for path in [tree, *tree.rglob("*")]:
        os.utime(path, (EPOCH, EPOCH), follow_symlinks=False)
