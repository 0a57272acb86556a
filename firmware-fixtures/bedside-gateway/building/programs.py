"""Compiles the application, the menu's joint and the bench's program against the libraries of the image."""

from __future__ import annotations

from pathlib import Path

from fixture_build.debian import Package
from fixture_build.tools import progress, run

TRIPLE = "x86_64-linux-gnu"
CFLAGS = (
    "-std=gnu11", "-O2", "-g0", "-Wall", "-Wextra", "-Werror", "-Wno-format-truncation", "-D_FORTIFY_SOURCE=2",
    "-fstack-protector-strong", "-fcf-protection=none", "-fPIE",
)  # fmt: skip
LDFLAGS = ("-pie", "-Wl,-z,relro,-z,now", "-Wl,--build-id=none", "-s")
PROGRAMS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "gatewayd": (
        ("main", "audit", "accounts", "store", "sessions", "update", "menu", "http", "api", "api_users", "api_update"),
        ("-ljansson", "-lcrypt", "-lpthread"),
    ),
    "bg4-menu": (("join",), ()),
    "benchd": (("benchd",), ()),
}
"""Program: its sources and libraries."""


def unpack_sysroot(packages: list[Package], *, store: Path, sysroot: Path) -> None:
    """Unpack every package into one tree: libraries, headers and programs."""
    progress("unpacking packages")
    for package in packages:
        run(["dpkg-deb", "-x", store / package.file_name, sysroot])


def build_programs(sources: Path, *, sysroot: Path, out: Path) -> None:
    """Compile our own programs."""
    progress("compiling the application")
    out.mkdir(parents=True, exist_ok=True)
    libraries = [sysroot / "usr/lib" / TRIPLE, sysroot / "lib" / TRIPLE]
    search = [word for folder in libraries for word in (f"-L{folder}", f"-Wl,-rpath-link,{folder}")]
    for program, (names, needs) in PROGRAMS.items():
        run([
            f"{TRIPLE}-gcc", *CFLAGS, "-isystem", sysroot / "usr/include", f"-I{sources}",
            *[f"{name}.c" for name in names], "-o", out / program, *LDFLAGS, *search, *needs,
        ], cwd=sources)  # fmt: skip
