"""The package lock: which Debian packages go into the image, fetched through the host's own apt configuration."""

from __future__ import annotations

import hashlib
import os
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from building.tools import BuildError, progress, run

ARCHITECTURE = "arm64"
KERNEL = "linux-image-arm64"
"""Names no package of its own kept in the image: what it depends on is the kernel."""

BINARIES = (
    "busybox-static",
    "iproute2",
    "libbpf1",
    "libelf1",
    "libbsd0",
    "libmd0",
    "libmnl0",
    "libcap2",
    "libselinux1",
    "libpcre2-8-0",
    "zlib1g",
    "libubootenv-tool",
    "libubootenv0.1",
    "libc6",
    "libcrypt1",
    "libnettle8",
    "nettle-dev",
    "libcrypt-dev",
    "libmicrohttpd12",
    "libmicrohttpd-dev",
    "libgnutls30",
    "libgnutls28-dev",
    "libgmp10",
    "libhogweed6",
    "libidn2-0",
    "libp11-kit0",
    "libtasn1-6",
    "libunistring2",
    "libjansson4",
    "libjansson-dev",
    "libsodium23",
    "libsodium-dev",
    "libglib2.0-0",
    "libglib2.0-dev",
    "libffi8",
    "libmount1",
    "libblkid1",
    "libssl3",
    "libssl-dev",
    "squashfs-tools",
    "liblzo2-2",
    "liblz4-1",
    "liblzma5",
    "libzstd1",
)
SOURCES = ("dropbear", "rauc")

_HEADER = "# kind name version sha256 path-below-the-mirror; written by build.py\n"
_APT_HELPER = "/usr/lib/apt/apt-helper"
_URI_LINE = re.compile(r"^'(?P<uri>[^']+)' (?P<file>\S+) (?P<size>\d+) SHA256:(?P<sha256>[0-9a-f]{64})")


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


def read_lock(lock: Path) -> list[Package]:
    """The packages named by the lock file; empty if there is none yet."""
    if not lock.exists():
        return []
    rows = [line.split() for line in lock.read_text().splitlines() if line and not line.startswith("#")]
    return [Package(*row) for row in rows]


def absent_from(packages: list[Package]) -> list[str]:
    """Names that the image needs and the lock does not have."""
    names = {p.name for p in packages}
    return [name for name in (*BINARIES, *SOURCES) if name not in names]


def write_lock(lock: Path, packages: list[Package]) -> None:
    """Write the lock file, sorted."""
    rows = sorted(f"{p.kind} {p.name} {p.version} {p.sha256} {p.path}" for p in packages)
    lock.write_text(_HEADER + "\n".join(rows) + "\n")


def fetch_locked(packages: list[Package], store: Path) -> list[Package]:
    """Fetch what the store lacks; return the packages that no mirror has any more."""
    store.mkdir(parents=True, exist_ok=True)
    missing = [p for p in packages if not _good(store / p.file_name, p.sha256)]
    if not missing:
        return []
    progress(f"fetching {len(missing)} packages")
    sites = _mirrors()
    with ThreadPoolExecutor(max_workers=4) as pool:
        fetched = list(pool.map(lambda p: _fetch(p, sites, store), missing))
    return [p for p, ok in zip(missing, fetched, strict=True) if not ok]


def resolve(work: Path) -> list[Package]:
    """Ask the mirror for the current versions of everything in the image."""
    progress("resolving packages anew")
    options = _private_apt(work)
    run(["apt-get", *options, "-q", "update"])
    depends = run(["apt-cache", *options, "depends", KERNEL])
    kernel = re.search(r"Depends: (linux-image-\S+)", depends)
    if kernel is None:
        raise BuildError(f"the mirror has no {KERNEL}")
    names = [*BINARIES, kernel.group(1)]
    listing = run(["apt-get", *options, "-q", "--print-uris", "download", *names])
    packages = _parse(listing, kind="binary")
    for source in SOURCES:
        listing = run(["apt-get", *options, "-q", "--print-uris", "--download-only", "source", source])
        packages += [p for p in _parse(listing, kind="source") if not p.path.endswith(".asc")]
    return packages


def find(packages: list[Package], *, kind: str, prefix: str) -> list[Package]:
    """The packages of a kind whose names start with `prefix`."""
    return [p for p in packages if p.kind == kind and p.name.startswith(prefix)]


def _parse(listing: str, *, kind: str) -> list[Package]:
    found = []
    for line in listing.splitlines():
        match = _URI_LINE.match(line)
        if match is None:
            continue
        uri, file_name = match["uri"], unquote(match["file"])
        name, version = (file_name.split("_") + [""])[:2]
        path = uri[uri.index("/pool/") + 1 :]
        version = re.sub(r"\.(dsc|orig\..*|debian\..*)$", "", version)
        found.append(Package(kind=kind, name=name, version=version, sha256=match["sha256"], path=path))
    return found


def _private_apt(work: Path) -> list[str]:
    """Options that give apt a state of its own for the target's architecture, with the host's sources."""
    apt = work / "apt"
    for folder in ("state/lists/partial", "cache/archives/partial", "sources"):
        (apt / folder).mkdir(parents=True, exist_ok=True)
    (apt / "status").touch()
    host = Path("/etc/apt")
    for source in [host / "sources.list", *sorted((host / "sources.list.d").glob("*"))]:
        if source.suffix not in (".list", ".sources") or not source.is_file():
            continue
        text = source.read_text()
        if source.suffix == ".sources":
            text = re.sub(r"^Types:.*$", "Types: deb deb-src", text, flags=re.MULTILINE)
        else:
            text += "\n" + re.sub(r"^deb ", "deb-src ", text, flags=re.MULTILINE)
        (apt / "sources" / source.name).write_text(text)
    settings = {
        "APT::Architecture": ARCHITECTURE,
        "APT::Architectures": ARCHITECTURE,
        "APT::Sandbox::User": "",
        "Dir::State": apt / "state",
        "Dir::State::status": apt / "status",
        "Dir::Cache": apt / "cache",
        "Dir::Etc::sourcelist": "/dev/null",
        "Dir::Etc::sourceparts": apt / "sources",
        "Debug::NoLocking": "true",
    }
    return [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]


def _mirrors() -> list[str]:
    sites = set(run(["apt-get", "indextargets", "--format", "$(SITE)"]).split())
    if not sites:
        raise BuildError("apt on this host knows no mirror (apt-get indextargets is empty)")
    return sorted(sites)


def _good(file: Path, sha256: str) -> bool:
    return file.exists() and hashlib.sha256(file.read_bytes()).hexdigest() == sha256


def _fetch(package: Package, sites: list[str], store: Path) -> bool:
    wanted = store / package.file_name
    partial = store / f".{package.file_name}.{os.getpid()}"
    for site in sites:
        try:
            run(
                [
                    _APT_HELPER,
                    "-o",
                    "APT::Sandbox::User=",
                    "-o",
                    "Acquire::Retries=2",
                    "download-file",
                    f"{site.rstrip('/')}/{package.path}",
                    partial,
                    f"SHA256:{package.sha256}",
                ]
            )
        except BuildError:
            continue
        if _good(partial, package.sha256):
            partial.replace(wanted)
            return True
    partial.unlink(missing_ok=True)
    return False
