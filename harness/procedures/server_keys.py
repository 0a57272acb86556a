"""The keys by which a device is known: what its SSH and HTTPS servers show of them."""

from __future__ import annotations

from collections.abc import Mapping

from harness.case import Case
from harness.device.certificate import certificate_marks
from harness.device.ssh import SshServer
from harness.links.tls import fingerprint
from harness.rig.device_file import HttpSurface
from harness.rig.rig_file import SshLinkSpec
from harness.verdict import Undecided

__all__ = ["KEY", "shown_key", "shown_marks"]

KEY = "key"
"""The mark that every link has."""


def shown_key(case: Case, link: str) -> str:
    """Return what a link shows of its server: a certificate's fingerprint, or the host key.

    Raises:
        Undecided: it is not shown, or nothing here reads the key of such a link.
    """
    return _host_key(case, link) or fingerprint(_certificate(case, link))


def shown_marks(case: Case, link: str) -> Mapping[str, str]:
    """Return what tells the server of a link from another one: its public key, and what a certificate has beside.

    Raises:
        Undecided: it is not shown or cannot be read, or nothing here reads the key of such a link.
    """
    if host_key := _host_key(case, link):
        return {KEY: host_key}
    try:
        return certificate_marks(_certificate(case, link))
    except ValueError as error:
        raise Undecided(f"{link}: {error}") from None


def _host_key(case: Case, link: str) -> str:
    """Return the host key that an SSH link shows, empty where it is none."""
    if not isinstance(case.bench.rig.file.links[link], SshLinkSpec):
        return ""
    return case.value(SshServer(case.bench.wiring, link).shown_host_key(), f"the host key of {link}")


def _certificate(case: Case, link: str) -> bytes:
    for name, surface in case.bench.rig.device.surfaces.items():
        if isinstance(surface, HttpSurface) and surface.link == link:
            return case.value(case.bench.http(name).certificate(), f"the certificate of {link}")
    raise Undecided(f"the key of {link} cannot be read: it is neither SSH nor the link of an HTTP surface")
