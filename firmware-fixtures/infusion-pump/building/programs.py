"""Cross-builds the application, the bench's program and dropbear for the target."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from fixture_build.debian import Package, find
from fixture_build.tools import BuildError, progress, run

TRIPLE = "aarch64-linux-gnu"
CFLAGS = (
    "-std=gnu11", "-O2", "-g0", "-Wall", "-Wextra", "-Werror", "-D_FORTIFY_SOURCE=2",
    "-fstack-protector-strong", "-fPIE",
)  # fmt: skip
LDFLAGS = ("-pie", "-Wl,-z,relro,-z,now", "-Wl,--build-id=none", "-s")

APPLICATION = (
    "main", "util", "pump", "storage", "audit", "accounts", "dialogue", "commands", "terminals", "cmac", "can",
    "uds", "modbus", "modbus_tcp", "modbus_rtu", "control", "weaknesses", "version", "update", "update_fetch", "trial",
    "unit", "seal", "keys", "records", "store", "passwords", "equipment", "backup_make", "backup_read", "api",
    "api_dispatch", "api_session", "api_device", "api_users", "api_patients", "api_files", "api_system",
)  # fmt: skip
PROGRAMS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "vp1d": (
        APPLICATION,
        ("-lmicrohttpd", "-lgnutls", "-ljansson", "-lsodium", "-lnettle", "-lcrypt", "-lm", "-lpthread"),
    ),
    "vp1-supervise": (("supervisor",), ()),
    "vp1-updater": (("updater", "util", "version", "weaknesses"), ("-lpthread",)),
    "vp1-menu": (("menu",), ()),
    "bench-fifo": (("bench_fifo",), ()),
    "benchd": (("benchd", "bench_port", "bench_can", "bench_agent"), ("-lpthread",)),
}
"""Program: its sources and libraries."""


def unpack_sysroot(packages: list[Package], *, store: Path, sysroot: Path) -> None:
    """Unpack every binary package into one tree: libraries, headers and the target's programs."""
    progress("unpacking packages")
    for package in find(packages, kind="binary", prefix=""):
        run(["dpkg-deb", "-x", store / package.file_name, sysroot])


def build_programs(sources: Path, *, sysroot: Path, out: Path) -> None:
    """Compile our own programs against the libraries of the target."""
    progress("compiling the application")
    out.mkdir(parents=True, exist_ok=True)
    libraries = sysroot / "usr/lib" / TRIPLE
    for program, (names, needs) in PROGRAMS.items():
        run([
            f"{TRIPLE}-gcc", *CFLAGS, "-isystem", sysroot / "usr/include", f"-I{sources}",
            *[f"{name}.c" for name in names], "-o", out / program, *LDFLAGS,
            f"-L{libraries}", f"-Wl,-rpath-link,{libraries}", *needs,
        ], cwd=sources)  # fmt: skip


def cache_key(*inputs: str) -> str:
    """Names what the compiler makes of these inputs."""
    compiler = run([f"{TRIPLE}-gcc", "--version"]).splitlines()[0]
    return hashlib.sha256("\n".join([compiler, *inputs]).encode()).hexdigest()[:16]


def build_dropbear(packages: list[Package], *, store: Path, options: Path, cache: Path, out: Path) -> None:
    """Build dropbear from Debian's source package, with its patches and our options (cached by its inputs)."""
    sources = find(packages, kind="source", prefix="dropbear")
    key = cache_key(options.read_text(), *sorted(p.sha256 for p in sources))
    kept = cache / f"dropbear-{key}"
    if not kept.exists():
        progress("building dropbear (once)")
        scratch = Path(tempfile.mkdtemp(prefix="dropbear-", dir=cache))
        tree = scratch / "dropbear"
        dsc = [p for p in sources if p.path.endswith(".dsc")]
        if len(dsc) != 1:
            raise BuildError("the package lock does not name dropbear's source package")
        run(["dpkg-source", "--no-check", "-x", store / dsc[0].file_name, tree])
        shutil.copy(options, tree / "localoptions.h")
        run([
            "sh", "./configure", f"--host={TRIPLE}", "--disable-zlib", "--enable-bundled-libtom", "--disable-syslog",
            "--disable-lastlog", "--disable-utmp", "--disable-utmpx", "--disable-wtmp", "--disable-wtmpx",
            "--disable-pam", f"LDFLAGS={' '.join(LDFLAGS[1:])}",
        ], cwd=tree)  # fmt: skip
        run(["make", f"-j{os.cpu_count() or 1}", "PROGRAMS=dropbear"], cwd=tree)
        run([f"{TRIPLE}-strip", "dropbear"], cwd=tree)
        shutil.copy(tree / "dropbear", kept.with_suffix(".new"))
        kept.with_suffix(".new").replace(kept)
        shutil.rmtree(scratch)
    shutil.copy(kept, out / "dropbear")
