"""Which Debian packages go into the image."""

from __future__ import annotations

from fixture_build.debian import Package, newest_kernel, parse_uris
from fixture_build.tools import run

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


def resolve() -> list[Package]:
    """Ask the mirror for the current versions of everything in the image."""
    listing = run(["apt-get", "-q", "--print-uris", "download", *NAMES, newest_kernel(KERNEL)])
    return parse_uris(listing, kind="binary")
