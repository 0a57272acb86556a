"""Debian packages that are locked by version and hash, fetched through the host's own apt configuration."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from fixture_build.tools import BuildError, progress, run

_HEADER = "# kind name version sha256 path-below-the-mirror; written by build.py\n"
_APT_HELPER = ("/usr/lib/apt/apt-helper", "-o", "APT::Sandbox::User=", "-o", "Acquire::Retries=2")
_URI_LINE = re.compile(r"^'(?P<uri>[^']+)' (?P<file>\S+) (?P<size>\d+) SHA256:(?P<sha256>[0-9a-f]{64})", re.M)


@dataclass(frozen=True)
class Package:
    """One locked file of the archive."""

    kind: str
    """`binary` or `source`."""
    name: str
    version: str
    sha256: str
    path: str
    """Below the mirror's address, e.g. `pool/main/...`."""

    @property
    def file_name(self) -> str:
        return unquote(self.path.rsplit("/", 1)[1])


def find(packages: list[Package], *, kind: str, prefix: str) -> list[Package]:
    """The packages of a kind whose names start with `prefix`."""
    return [p for p in packages if p.kind == kind and p.name.startswith(prefix)]


def locked_packages(
    lock: Path, store: Path, *, needed: Collection[str], resolve: Callable[[], list[Package]], relock: bool
) -> list[Package]:
    """The packages of the lock, all in `store` now.

    Where the lock lacks a `needed` name, a mirror has one no more, or `relock` says so, `resolve` asks for the
    newest of all, and the lock is written anew.

    Raises:
        BuildError: the mirror lists what it does not have.
    """
    before = _read(lock)
    locked = [] if relock else before
    if locked and (absent := sorted({*needed} - {package.name for package in locked})):
        progress(f"{lock.name} lacks {', '.join(absent)}")
        locked = []
    gone = _fetch_all(locked, store)
    if locked and not gone:
        return locked
    for package in gone:
        progress(f"no mirror has {package.name} {package.version} any more")
    progress("resolving packages anew")
    fresh = resolve()
    if gone := _fetch_all(fresh, store):
        names = ", ".join(package.name for package in gone)
        raise BuildError(f"the mirror lists but does not have {names}; apt-get update, or try again later")
    rows = sorted(f"{p.kind} {p.name} {p.version} {p.sha256} {p.path}" for p in fresh)
    lock.write_text(_HEADER + "\n".join(rows) + "\n")
    after = _read(lock)
    if after == before:
        progress(f"{lock.name} is up to date")
    else:
        progress(f"{lock.name} CHANGED: this is not the image of the old lock; review and commit it")
    return after


def parse_uris(listing: str, *, kind: str) -> list[Package]:
    """The packages that `apt-get --print-uris` lists."""
    found = []
    for match in _URI_LINE.finditer(listing):
        name, version = (unquote(match["file"]).split("_") + [""])[:2]
        path = match["uri"][match["uri"].index("/pool/") + 1 :]
        version = re.sub(r"\.(dsc|orig\..*|debian\..*)$", "", version)
        found.append(Package(kind=kind, name=name, version=version, sha256=match["sha256"], path=path))
    return found


def newest_kernel(name: str, options: Collection[str] = ()) -> str:
    """The package of the kernel that the package `name` depends on.

    Raises:
        BuildError: the mirror has none.
    """
    found = re.search(r"Depends: (linux-image-\S+)", run(["apt-cache", *options, "depends", name]))
    if found is None:
        raise BuildError(f"the mirror has no {name}; apt-get update")
    return found[1]


def _read(lock: Path) -> list[Package]:
    text = lock.read_text() if lock.exists() else ""
    return [Package(*line.split()) for line in text.splitlines() if line and not line.startswith("#")]


def _fetch_all(packages: list[Package], store: Path) -> list[Package]:
    """Fetch what the store lacks; return the packages that no mirror has any more."""
    store.mkdir(parents=True, exist_ok=True)
    missing = [p for p in packages if not _good(store / p.file_name, p.sha256)]
    if not missing:
        return []
    progress(f"fetching {len(missing)} packages")
    sites = sorted(set(run(["apt-get", "indextargets", "--format", "$(SITE)"]).split()))
    if not sites:
        raise BuildError("apt on this host knows no mirror (apt-get indextargets is empty)")
    with ThreadPoolExecutor(max_workers=4) as pool:
        fetched = list(pool.map(lambda package: _fetch(package, sites, store), missing))
    return [p for p, ok in zip(missing, fetched, strict=True) if not ok]


def _fetch(package: Package, sites: list[str], store: Path) -> bool:
    partial = store / f".{package.file_name}.{os.getpid()}"
    for site in sites:
        address = f"{site.rstrip('/')}/{package.path}"
        try:
            run([*_APT_HELPER, "download-file", address, partial, f"SHA256:{package.sha256}"])
        except BuildError:
            continue
        if _good(partial, package.sha256):
            partial.replace(store / package.file_name)
            return True
    partial.unlink(missing_ok=True)
    return False


def _good(file: Path, sha256: str) -> bool:
    return file.exists() and hashlib.sha256(file.read_bytes()).hexdigest() == sha256
