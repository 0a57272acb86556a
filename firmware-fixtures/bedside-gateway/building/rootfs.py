"""Lays out the system as one tree, packs it as the initial RAM file system, and makes the empty data partition."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import shutil
from pathlib import Path

from fixture_build.debian_tree import install, install_busybox, install_libraries, install_modules
from fixture_build.tools import EPOCH, progress, run

from building.programs import TRIPLE

MODULES = ("virtio_pci", "virtio_blk", "virtio_net", "virtio_console", "ext4", "crc32c_generic", "qemu_fw_cfg")
APPLETS = (
    "sh", "init", "mount", "umount", "mkdir", "insmod", "cat", "echo", "sed", "sleep", "sysctl", "hostname", "hwclock",
    "chown", "chmod", "true", "false", "sync", "reboot", "rm", "mv", "cp", "grep", "tar", "ar", "sha256sum", "cut",
    "awk", "head", "touch", "ls", "id", "printf", "[", "test", "xzcat", "ln",
)  # fmt: skip
DEBIAN_PROGRAMS = {
    "bin/ip": "sbin/ip",
    "usr/bin/gpgv": "usr/bin/gpgv",
    "usr/sbin/lighttpd": "usr/sbin/lighttpd",
    "usr/sbin/mosquitto": "usr/sbin/mosquitto",
    "usr/sbin/sshd": "usr/sbin/sshd",
    "usr/lib/lighttpd/mod_openssl.so": "usr/lib/lighttpd/mod_openssl.so",
    "usr/lib/lighttpd/mod_dirlisting.so": "usr/lib/lighttpd/mod_dirlisting.so",
}
OWN_PROGRAMS = {"gatewayd": "opt/bg4/app/gatewayd", "bg4-menu": "usr/bin/bg4-menu", "benchd": "opt/bench/benchd"}
FOLDERS = (
    *("bin", "sbin", "usr/bin", "usr/sbin", "dev", "proc", "sys", "run", "tmp", "data", "root", "var/log"),
    *("etc/bg4", "etc/ssh/authorized_keys", "opt/bg4/app"),
)
"""Those that git does not keep, being empty in the fixture."""
DATA_SIZE_KIB = 32 * 1024
DATA_UUID = "6d657269-6469-616e-8004-000000000001"
OWNERS = {
    "etc/bg4/tls_key_mqtt.pem": 75,
    "etc/mosquitto/passwords": 75,
    "etc/mosquitto/acl": 75,
    "etc/bg4/delivered.json": 900,
}
"""Files that are not root's alone; every one of them is read by its owner only."""
PRIVATE = (*OWNERS, "etc/bg4/tls_key.pem", "etc/ssh/ssh_host_ed25519_key")


def build_tree(sysroot: Path, *, fixture: Path, programs: Path, version: str, tree: Path) -> None:
    """The whole system as a tree."""
    progress("system")
    for folder in FOLDERS:
        (tree / folder).mkdir(parents=True, exist_ok=True)
    shutil.copytree(fixture / "rootfs", tree, dirs_exist_ok=True)
    (tree / "lib64").mkdir()
    (tree / "var/run").symlink_to("/run")
    install_busybox(sysroot, tree, APPLETS)
    (tree / "init").symlink_to("/bin/busybox")
    for source, target in DEBIAN_PROGRAMS.items():
        install(sysroot / source, tree / target)
    for program, target in OWN_PROGRAMS.items():
        install(programs / program, tree / target)
    (tree / "opt/bg4/app/version").write_text(f"{version}\n")
    own = (*DEBIAN_PROGRAMS.values(), *OWN_PROGRAMS.values())
    install_libraries(sysroot, tree, programs=own, triple=TRIPLE)
    install_modules(sysroot, tree, MODULES, listing="etc/modules.order")
    _unit(fixture, tree)


def pack(tree: Path, out: Path) -> None:
    """The tree as an initial RAM file system; the same tree gives the same bytes."""
    progress("initial RAM file system")
    for path in [tree, *tree.rglob("*")]:
        if not path.is_symlink():
            private = str(path.relative_to(tree)) in PRIVATE
            path.chmod(0o600 if private else 0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
        os.utime(path, (EPOCH, EPOCH), follow_symlinks=False)
    names = sorted(str(path.relative_to(tree)) for path in tree.rglob("*"))
    listing = tree.parent / "names"
    listing.write_text("\n".join(names) + "\n")
    owners = " && ".join(f"chown {owner}:{owner} '{name}'" for name, owner in OWNERS.items())
    packed = tree.parent / "system.cpio"
    script = f"chown -R 0:0 . && {owners} && cpio --quiet --reproducible -o -H newc <'{listing}' >'{packed}'"
    run(["fakeroot", "sh", "-c", f"cd '{tree}' && {script}"])
    out.write_bytes(gzip.compress(packed.read_bytes(), compresslevel=6, mtime=EPOCH))
    packed.unlink()


def build_data(work: Path, out: Path) -> None:
    """The data partition as delivered: empty, with a journal, as it is written while the power may fail."""
    progress("data partition")
    raw = work / "data.ext4"
    make = (
        f"mke2fs -q -t ext4 -O has_journal,^metadata_csum -U {DATA_UUID} -m 0 -b 4096"
        f" -E hash_seed={DATA_UUID},root_owner=0:0,lazy_itable_init=0,nodiscard '{raw}' {DATA_SIZE_KIB}k"
    )
    # mke2fs of Debian 12 ignores SOURCE_DATE_EPOCH; without faketime no two images are alike.
    run(["fakeroot", "sh", "-c", f"faketime -f '2023-11-14 22:13:20' {make}"])
    run(["qemu-img", "convert", "-q", "-m", "1", "-f", "raw", "-O", "qcow2", raw, out])


def _unit(fixture: Path, tree: Path) -> None:
    """What the maker puts into the unit: keys, certificate, accounts."""
    unit, keys = json.loads((fixture / "unit-keys/unit.json").read_text()), fixture / "unit-keys"
    shutil.copy(keys / "ssh_host_ed25519_key", tree / "etc/ssh/ssh_host_ed25519_key")
    for name in ("tls_cert.pem", "tls_key.pem"):
        shutil.copy(keys / name, tree / "etc/bg4" / name)
    shutil.copy(keys / "tls_key.pem", tree / "etc/bg4/tls_key_mqtt.pem")
    shutil.copy(fixture / "update-keys/maker.gpg", tree / "etc/bg4/maker.gpg")
    (tree / "etc/bg4/delivered.json").write_text(json.dumps({"ward": unit["ward"], "users": unit["users"]}))
    bench_key = (fixture / "bench-keys/bench_ed25519.pub").read_text()
    (tree / "etc/ssh/authorized_keys/service").write_text(bench_key)
    rows = [_mqtt_row(user, password) for user, password in unit["mqtt"].items()]
    (tree / "etc/mosquitto/passwords").write_text("".join(rows))


def _mqtt_row(user: str, password: str) -> str:
    """A line of mosquitto's password file: PBKDF2 with SHA-512, the salt made of the name so that builds are alike."""
    salt = hashlib.sha256(user.encode()).digest()[:12]
    made = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, 1000, 64)
    return f"{user}:$7$1000${base64.b64encode(salt).decode()}${base64.b64encode(made).decode()}\n"
