"""Which Debian packages go into the image."""

from __future__ import annotations

import re
from pathlib import Path

from fixture_build.debian import Package, newest_kernel, parse_uris
from fixture_build.tools import run

ARCHITECTURE = "arm64"
KERNEL = "linux-image-arm64"
"""Names no package of its own kept in the image: what it depends on is the kernel."""

BINARIES = (
    "busybox-static", "iproute2", "libbpf1", "libelf1", "libbsd0", "libmd0", "libmnl0", "libcap2", "libselinux1",
    "libpcre2-8-0", "zlib1g", "libubootenv-tool", "libubootenv0.1", "libc6", "libcrypt1", "libnettle8", "nettle-dev",
    "libcrypt-dev", "libmicrohttpd12", "libmicrohttpd-dev", "libgnutls30", "libgnutls28-dev", "libgmp10",
    "libhogweed6", "libidn2-0", "libp11-kit0", "libtasn1-6", "libunistring2", "libjansson4", "libjansson-dev",
    "libsodium23", "libsodium-dev", "libglib2.0-0", "libglib2.0-dev", "libffi8", "libmount1", "libblkid1", "libssl3",
    "libssl-dev", "squashfs-tools", "liblzo2-2", "liblz4-1", "liblzma5", "libzstd1",
)  # fmt: skip
SOURCES = ("dropbear", "rauc")
NAMES = (*BINARIES, *SOURCES)


def resolve(work: Path) -> list[Package]:
    """Ask the mirror for the current versions of everything in the image."""
    options = _private_apt(work)
    run(["apt-get", *options, "-q", "update"])
    names = [*BINARIES, newest_kernel(KERNEL, options)]
    listing = run(["apt-get", *options, "-q", "--print-uris", "download", *names])
    packages = parse_uris(listing, kind="binary")
    for source in SOURCES:
        listing = run(["apt-get", *options, "-q", "--print-uris", "--download-only", "source", source])
        packages += [p for p in parse_uris(listing, kind="source") if not p.path.endswith(".asc")]
    return packages


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
