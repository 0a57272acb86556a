"""Compiles the boot loader and the application."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fixture_build.tools import run

CPU = ["-mcpu=cortex-m3", "-mthumb"]
FLAGS = [
    *CPU, "-std=c11", "-Os", "-ffunction-sections", "-fdata-sections", "-fno-common", "--specs=picolibc.specs",
]  # fmt: skip
WARNINGS = ["-Wall", "-Wextra", "-Werror", "-Wshadow", "-Wstrict-prototypes", "-Wmissing-prototypes"]
LINK = ["-nostartfiles", "-Wl,--gc-sections", "-Wl,--build-id=none", "-Wl,--no-warn-rwx-segments"]


def build_boot(fixture: Path, *, unit: str, work: Path) -> bytes:
    """The boot loader, as it lies at address 0. `unit` is the C source of what is burnt into this unit."""
    (work / "unit.c").write_text(unit)
    crypto = fixture / "third-party" / "monocypher"
    sources = [*_sources(fixture, "common", "boot"), work / "unit.c"]
    objects = _compile(sources, fixture=fixture, includes=["common", "boot"], extra=["-I", crypto], work=work / "boot")
    objects += _compile([crypto / "monocypher.c"], fixture=fixture, includes=[], extra=["-w"], work=work / "boot")
    return _link(objects, script=fixture / "src/boot/boot.ld", out=work / "boot.elf")


def build_application(fixture: Path, *, work: Path) -> bytes:
    """The application's payload, as it lies at IMAGE_ADDRESS."""
    objects = _compile(
        _sources(fixture, "common", "app"), fixture=fixture, includes=["common", "app"], extra=[], work=work / "app"
    )
    return _link(objects, script=fixture / "src/app/app.ld", out=work / "app.elf")


def _sources(fixture: Path, *folders: str) -> list[Path]:
    return sorted(file for folder in folders for file in (fixture / "src" / folder).glob("*.c"))


def _compile(
    sources: Sequence[Path], *, fixture: Path, includes: Sequence[str], extra: Sequence[str | Path], work: Path
) -> list[Path]:
    work.mkdir(exist_ok=True)
    paths = [word for folder in includes for word in ("-I", fixture / "src" / folder)]
    objects = []
    for source in sources:
        out = work / f"{source.stem}.o"
        # no path of the host may reach the bytes
        mapped = f"-ffile-prefix-map={fixture}=."
        run(["arm-none-eabi-gcc", *FLAGS, *WARNINGS, *paths, *extra, mapped, "-c", source, "-o", out])
        objects.append(out)
    return objects


def _link(objects: Sequence[Path], *, script: Path, out: Path) -> bytes:
    run(["arm-none-eabi-gcc", *FLAGS, *LINK, "-T", script, *objects, "-o", out])
    binary = out.with_suffix(".bin")
    run(["arm-none-eabi-objcopy", "-O", "binary", out, binary])
    return binary.read_bytes()
