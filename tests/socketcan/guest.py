"""A QEMU guest that has CAN: the files of the host, read-only, under a kernel of Debian.

Nothing is installed in it, so what it runs is what the host has: Python, the virtual environment, this repository.
Its own are a kernel and one static busybox (`packages.lock`), memory, and one folder for work and results.
`python tests/socketcan/guest.py COMMAND…` runs a command in it, `--relock` takes the kernel that the mirror has now.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "firmware-fixtures"))

from fixture_build.debian import Package, locked_packages, newest_kernel, parse_uris  # noqa: E402 - by the line above
from fixture_build.tools import run  # noqa: E402

LOCK = HERE / "packages.lock"
BUILD = ROOT / ".build" / "socketcan-guest"
MACHINE = "x86_64"
"""The guest runs the host's programs: both must be of this kind."""
MODULES = ("virtio_pci", "9pnet_virtio", "9p", "can", "can_raw", "can_isotp", "vcan", "sch_tbf")
APPLETS = ("sh", "mount", "umount", "mkdir", "insmod", "echo", "switch_root")
QEMU = (
    "qemu-system-x86_64", "-M", "pc", "-cpu", "max", "-accel", "tcg,thread=multi", "-smp", "2", "-m", "1024",
    "-nodefaults", "-display", "none", "-no-reboot",
)  # fmt: skip
KERNEL_LINE = "console=ttyS0 quiet panic=-1 mitigations=off tsc=reliable clocksource=tsc random.trust_cpu=on"
PREPARE = """\
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/run TMPDIR=/run LC_ALL=C.UTF-8 CI=1 PYTHONDONTWRITEBYTECODE=1
export PYTEST_DISABLE_PLUGIN_AUTOLOAD=1
ip link set lo up
ip link add vcan0 mtu 72 type vcan
ip link set vcan0 up
"""


@dataclass(frozen=True)
class Done:
    """What a command in the guest came to: its exit code (None: it never ended), and what it and the kernel wrote."""

    code: int | None
    output: str
    console: str


@dataclass(frozen=True)
class Guest:
    """A guest that can be booted."""

    kernel: Path
    initrd: Path

    def run(self, *command: str, work: Path, timeout: float) -> Done:
        """Boot, run `command` in the repository, with `work` at /mnt, and power off within `timeout` seconds."""
        (work / "work").write_text(
            f"{PREPARE}cd {shlex.quote(str(ROOT))}\n{shlex.join(command)} >/mnt/output 2>&1\n"
            "echo $? >/mnt/code\necho b >/proc/sysrq-trigger\n"
        )
        words = [
            *QEMU,
            *("-kernel", str(self.kernel), "-initrd", str(self.initrd), "-append", KERNEL_LINE),
            *("-virtfs", "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap"),
            *("-virtfs", f"local,path={work},mount_tag=work,security_model=none"),
            *("-serial", f"file:{work / 'console'}"),
        ]
        try:
            qemu = subprocess.run(words, capture_output=True, text=True, timeout=timeout, check=False)
            said = qemu.stderr
        except subprocess.TimeoutExpired:
            said = f"not done within {timeout:.0f} s"
        code, output, console = (_text(work / name) for name in ("code", "output", "console"))
        return Done(int(code) if code.strip() else None, output, console + said)


def build(*, relock: bool = False) -> Guest:
    """Return the guest, built where its inputs have changed.

    Raises:
        BuildError: a tool or a package is missing.
    """
    BUILD.mkdir(parents=True, exist_ok=True)
    with (BUILD / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        needed = ["busybox-static"]
        locked = locked_packages(LOCK, BUILD / "packages", needed=needed, resolve=_newest, relock=relock)
        inputs = hashlib.sha256(LOCK.read_bytes() + (HERE / "init").read_bytes() + Path(__file__).read_bytes())
        kept = BUILD / inputs.hexdigest()[:16]
        guest = Guest(kept / "vmlinuz", kept / "initrd")
        if not kept.exists():
            scratch = BUILD / "new"
            shutil.rmtree(scratch, ignore_errors=True)
            _make(locked, scratch)
            for old in BUILD.glob("????????????????"):
                shutil.rmtree(old)
            (scratch / "made").rename(kept)
            shutil.rmtree(scratch)
        return guest


def _newest() -> list[Package]:
    names = ["busybox-static", newest_kernel("linux-image-amd64")]
    return parse_uris(run(["apt-get", "-q", "--print-uris", "download", *names]), kind="binary")


def _make(locked: list[Package], scratch: Path) -> None:
    sysroot, tree, made = scratch / "sysroot", scratch / "tree", scratch / "made"
    sysroot.mkdir(parents=True)
    for package in locked:
        run(["dpkg-deb", "-x", BUILD / "packages" / package.file_name, sysroot])
    for folder in ("bin", "proc", "dev", "host", "modules"):
        (tree / folder).mkdir(parents=True)
    made.mkdir()
    shutil.copy(sysroot / "bin/busybox", tree / "bin/busybox")
    for applet in APPLETS:
        (tree / "bin" / applet).symlink_to("busybox")
    shutil.copy(HERE / "init", tree / "init")
    (tree / "init").chmod(0o755)
    (kernel,) = (sysroot / "boot").glob("vmlinuz-*")
    version = kernel.name.removeprefix("vmlinuz-")
    run(["depmod", "-b", sysroot, version])
    order: dict[Path, None] = {}
    for module in MODULES:
        shown = run(["modprobe", "-d", sysroot, "-S", version, "--show-depends", module])
        order |= dict.fromkeys(Path(line.split()[1]) for line in shown.splitlines() if line.startswith("insmod"))
    for module in order:
        shutil.copy(module, tree / "modules")
    (tree / "modules.order").write_text("".join(f"/modules/{module.name}\n" for module in order))
    shutil.copy(kernel, made / "vmlinuz")
    run(["sh", "-c", f"cd '{tree}' && find . | cpio --quiet -o -H newc -R 0:0 >'{made / 'initrd'}'"])


def lacking() -> str:
    """Say what keeps this host from running the guest; empty for nothing."""
    if platform.machine() != MACHINE:
        return f"the guest runs programs of the host, which is {platform.machine()} and not {MACHINE}"
    return "" if shutil.which(QEMU[0]) else f"{QEMU[0]} is not installed (package qemu-system-x86)"


def _text(path: Path) -> str:
    return path.read_text(errors="backslashreplace") if path.exists() else ""


def main() -> int:
    """Run a command in the guest."""
    parser = argparse.ArgumentParser(description="Run a command on this host's files in a guest that has CAN (vcan0).")
    parser.add_argument("--relock", action="store_true", help="take the newest packages and rewrite packages.lock")
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds from power-on to power-off")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    guest = build(relock=options.relock)
    if not options.command:
        return 0
    with tempfile.TemporaryDirectory() as work:
        done = guest.run(*options.command, work=Path(work), timeout=options.timeout)
    print(done.output, end="")
    if done.code is None:
        print(f"the guest did not finish:\n{done.console[-4000:]}", file=sys.stderr)
    return 1 if done.code is None else done.code


if __name__ == "__main__":
    sys.exit(main())
