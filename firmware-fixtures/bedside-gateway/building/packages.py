"""The package lock: which Debian packages go into the image, fetched through the host's own apt configuration."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from building.tools import BuildError, progress, run

KERNEL = "linux-image-cloud-amd64"
"""Names no package of its own kept in the image: what it depends on is the kernel."""
NAMES = (
    "busybox-static", "gpgv", "iproute2", "lighttpd", "lighttpd-mod-openssl", "mosquitto", "openssh-server",
    "libaudit1", "libbpf1", "libbsd0", "libbz2-1.0", "libc6", "libcap-ng0", "libcap2", "libcjson1", "libcom-err2",
    "libcrypt-dev", "libcrypt1", "libdlt2", "libelf1", "libgcrypt20", "libgpg-error0", "libgssapi-krb5-2",
    "libjansson-dev", "libjansson4", "libk5crypto3", "libkeyutils1", "libkrb5-3", "libkrb5support0", "liblz4-1",
    "liblzma5", "libmd0", "libmnl0", "libmosquitto1", "libnettle8", "libnsl2", "libpam0g", "libpcre2-8-0",
    "libselinux1", "libssl3", "libsystemd0", "libtirpc3", "libwrap0", "libxxhash0", "libzstd1", "zlib1g",
)  # fmt: skip

_HEADER = "# name version sha256 path-below-the-mirror; written by build.py\n"
_URI_LINE = re.compile(r"^'(?P<uri>[^']+)' (?P<file>\S+) (?P<size>\d+) SHA256:(?P<sha256>[0-9a-f]{64})", re.M)


@dataclass(frozen=True)
class Package:
    """One locked file of the archive; `path` is below the mirror's address."""

    name: str
    version: str
    sha256: str
    path: str

    @property
    def file_name(self) -> str:
        return unquote(self.path.rsplit("/", 1)[1])


def locked_packages(lock: Path, store: Path, *, relock: bool) -> list[Package]:
    """The packages of the lock, fetched into `store`; locked anew on demand, or where the mirror has one no more."""
    packages = [] if relock else _read(lock)
    if {*NAMES} <= {package.name for package in packages}:
        gone = [package.name for package in packages if not _fetch(package, store)]
        if not gone:
            return packages
        progress(f"no mirror has {', '.join(gone)} as locked any more")
    progress("resolving packages anew: packages.lock CHANGES, review and commit it")
    packages = _resolve()
    if gone := [package.name for package in packages if not _fetch(package, store)]:
        raise BuildError(f"the mirror lists but does not have {', '.join(gone)}; apt-get update, or try again later")
    rows = sorted(f"{each.name} {each.version} {each.sha256} {each.path}" for each in packages)
    lock.write_text(_HEADER + "\n".join(rows) + "\n")
    return packages


def _read(lock: Path) -> list[Package]:
    text = lock.read_text() if lock.exists() else ""
    return [Package(*line.split()) for line in text.splitlines() if line and not line.startswith("#")]


def _resolve() -> list[Package]:
    kernel = re.search(r"Depends: (linux-image-\S+)", run(["apt-cache", "depends", KERNEL]))
    if kernel is None:
        raise BuildError(f"the mirror has no {KERNEL}")
    listing = run(["apt-get", "-q", "--print-uris", "download", *NAMES, kernel[1]])
    packages = []
    for match in _URI_LINE.finditer(listing):
        name, version = unquote(match["file"]).split("_")[:2]
        path = match["uri"][match["uri"].index("/pool/") + 1 :]
        packages.append(Package(name=name, version=version, sha256=match["sha256"], path=path))
    return packages


def _fetch(package: Package, store: Path) -> bool:
    """Whether the store has the package now, with its locked hash."""
    store.mkdir(parents=True, exist_ok=True)
    wanted, partial = store / package.file_name, store / f".{package.file_name}"
    if wanted.exists() and hashlib.sha256(wanted.read_bytes()).hexdigest() == package.sha256:
        return True
    for site in sorted(set(run(["apt-get", "indextargets", "--format", "$(SITE)"]).split())):
        address = f"{site.rstrip('/')}/{package.path}"
        helper = ["/usr/lib/apt/apt-helper", "-o", "APT::Sandbox::User=", "-o", "Acquire::Retries=2"]
        try:
            run([*helper, "download-file", address, partial, f"SHA256:{package.sha256}"])
        except BuildError:
            continue
        partial.replace(wanted)
        return True
    return False
