"""A tree for an image, filled from unpacked Debian packages: programs, the libraries they ask for, kernel modules."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from fixture_build.tools import BuildError, run

LOADERS = {
    "aarch64-linux-gnu": ("ld-linux-aarch64.so.1", "lib"),
    "x86_64-linux-gnu": ("ld-linux-x86-64.so.2", "lib64"),
}
"""The dynamic loader, and the folder in which programs look for it."""


def kernel_image(sysroot: Path) -> Path:
    """The one kernel in the unpacked packages.

    Raises:
        BuildError: there is another number of them.
    """
    images = list((sysroot / "boot").glob("vmlinuz-*"))
    if len(images) != 1:
        raise BuildError(f"{len(images)} kernels in the packages instead of one")
    return images[0]


def install(source: Path, target: Path) -> None:
    """Copy a program, or what a link to it leads to."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source.resolve(), target)
    target.chmod(0o755)


def install_busybox(sysroot: Path, tree: Path, applets: Iterable[str]) -> None:
    """Copy busybox, with links for its applets."""
    install(sysroot / "bin/busybox", tree / "bin/busybox")
    for applet in applets:
        (tree / "bin" / applet).symlink_to("/bin/busybox")


def install_libraries(sysroot: Path, tree: Path, *, programs: Iterable[str], triple: str) -> None:
    """Copy the loader, the libraries that `programs` of the tree ask for, and what those ask for.

    Raises:
        BuildError: one is in no package.
    """
    folders = (sysroot / "lib" / triple, sysroot / "usr/lib" / triple)
    loader, place = LOADERS[triple]
    install(folders[0] / loader, tree / place / loader)
    waiting = [tree / program for program in programs]
    seen: set[str] = set()
    while waiting:
        dynamic = run([f"{triple}-readelf", "-d", waiting.pop()])
        for name in re.findall(r"\(NEEDED\).*\[(.+?)\]", dynamic):
            if name in seen or name.startswith("ld-linux"):
                continue
            seen.add(name)
            sources = [folder / name for folder in folders if (folder / name).exists()]
            if not sources:
                raise BuildError(f"no locked package holds {name}: add its package in building/packages.py")
            install(sources[0], tree / "lib" / triple / name)
            waiting.append(tree / "lib" / triple / name)


def install_modules(
    sysroot: Path, tree: Path, wanted: tuple[str, ...], *, listing: str, skip: tuple[str, ...] = ()
) -> None:
    """Copy kernel modules with all they depend on, but for `skip` with all that; list them in loading order.

    Raises:
        BuildError: the kernel has no such module.
    """
    version = kernel_image(sysroot).name.removeprefix("vmlinuz-")
    base = sysroot / "lib/modules" / version
    if not (base / "modules.dep").exists():
        run(["depmod", "-b", sysroot, version])
    depends = {}
    for line in (base / "modules.dep").read_text().splitlines():
        module, _, needs = line.partition(":")
        depends[module] = needs.split()
    by_name = {Path(module).name.split(".ko")[0].replace("-", "_"): module for module in depends}
    builtin = {Path(line).stem.replace("-", "_") for line in (base / "modules.builtin").read_text().split()}

    def closure(names: tuple[str, ...]) -> list[str]:
        order: list[str] = []
        for name in (each.replace("-", "_") for each in names):
            if name in builtin:
                continue
            if name not in by_name:
                raise BuildError(f"the kernel package has no module {name}")
            for module in [*reversed(depends[by_name[name]]), by_name[name]]:
                if module not in order:
                    order.append(module)
        return order

    already = closure(skip)
    order = [module for module in closure(wanted) if module not in already]
    target = tree / "lib/modules"
    target.mkdir(parents=True, exist_ok=True)
    for module in order:
        shutil.copy(base / module, target / Path(module).name)
    (tree / listing).write_text("".join(f"/lib/modules/{Path(module).name}\n" for module in order))
