"""What an SSH server offers, read from its key exchange message, and what is known against it.

Read by ourselves, since a library that does not speak an algorithm cannot report that a device does.
Sources: RFC 4253 sections 4.2, 6 and 7.1; the table of ssh-audit.
"""

from __future__ import annotations

import fnmatch
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ssh_audit.ssh2_kexdb import SSH2_KexDB  # type: ignore[import-untyped]

from harness.capture import NullTap, Tap
from harness.errors import LinkLost
from harness.links.base import Deadline
from harness.links.dialer import Dialer
from harness.links.network import open_tcp
from harness.links.ssh_values import SshNoConnection

__all__ = ["AlgorithmNote", "Severity", "audit_algorithms", "is_marker", "offered_algorithms", "parse_kexinit"]

IDENTIFICATION = b"SSH-2.0-Proofrig\r\n"
_KEXINIT = 20
_MAX_PACKET = 256 * 1024
_KINDS = (
    "kex",
    "host_key",
    "cipher_to_device",
    "cipher_from_device",
    "mac_to_device",
    "mac_from_device",
    "compression_to_device",
    "compression_from_device",
)
_TABLE = {"kex": "kex", "host_key": "key", "cipher": "enc", "mac": "mac"}
_MARKERS = re.compile(r"kex-strict-[cs]-.*|ext-info-[cs]|kexguess2@matt\.ucc\.asn\.au")
"""Names in the list of key exchanges that are no algorithms but announce a feature (RFC 8308, strict kex, dropbear)."""


class Severity(StrEnum):
    """How ssh-audit judges an algorithm."""

    FAIL = "fail"
    WARN = "warn"
    INFO = "info"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class AlgorithmNote:
    """One thing to be said about one offered algorithm; `kind` is `kex`, `host_key`, `cipher` or `mac`."""

    algorithm: str
    kind: str
    severity: Severity
    reason: str


def parse_kexinit(payload: bytes) -> dict[str, list[str]]:
    """Return the name lists of a key exchange message by kind, each direction of its own.

    Raises:
        ValueError: the bytes are no such message.
    """
    if len(payload) < 17 or payload[0] != _KEXINIT:
        raise ValueError("no key exchange message")
    offered: dict[str, list[str]] = {}
    position = 17
    for kind in _KINDS:
        if position + 4 > len(payload):
            raise ValueError(f"the message ends before {kind}")
        (length,) = struct.unpack_from(">I", payload, position)
        names = payload[position + 4 : position + 4 + length]
        if len(names) < length:
            raise ValueError(f"the message ends within {kind}")
        offered[kind] = names.decode("ascii", "backslashreplace").split(",") if names else []
        position += 4 + length
    return offered


def offered_algorithms(
    dialer: Dialer, host: str, port: int = 22, *, timeout: float, tap: Tap | None = None
) -> dict[str, list[str]] | SshNoConnection:
    """Return what the server offers: its `identification` line and the lists of `parse_kexinit`."""
    deadline = Deadline(timeout)
    try:
        link = open_tcp(dialer, host, port, name=f"ssh {host}", tap=tap or NullTap(), timeout=timeout)
    except OSError as error:
        return SshNoConnection(error.strerror or str(error))
    try:
        # Other lines may come first (RFC 4253 section 4.2).
        banner = link.expect(re.compile(rb"^(SSH-[^\r\n]{0,250})\r?\n", re.M), since=0, timeout=deadline.remaining)
        if banner is None:
            return SshNoConnection("no identification line in time")
        link.send(IDENTIFICATION, timeout=max(0.1, deadline.remaining))
        head = link.read_at_least(5, since=banner.end, timeout=deadline.remaining)
        if len(head) < 5:
            return SshNoConnection("no key exchange message in time")
        length, padding = struct.unpack_from(">IB", head)
        if not padding + 2 <= length <= _MAX_PACKET:
            return SshNoConnection(f"no SSH packet: length {length}")
        packet = link.read_at_least(4 + length, since=banner.end, timeout=deadline.remaining)
        offered = parse_kexinit(packet[5 : 4 + length - padding])
    except ValueError as error:
        return SshNoConnection(str(error))
    except LinkLost as lost:
        return SshNoConnection(lost.message)
    finally:
        link.close()
    line = (banner.groups[0] or b"").decode("ascii", "backslashreplace")
    return {"identification": [line], **offered}


def is_marker(name: str) -> bool:
    """Whether a name in the list of key exchanges announces a feature and is no algorithm."""
    return _MARKERS.fullmatch(name) is not None


def audit_algorithms(offered: Mapping[str, Sequence[str]]) -> list[AlgorithmNote]:
    """Return what ssh-audit's table says about each offered algorithm.

    An algorithm it has nothing to say about is left out. What the table does not know is noted as `unknown`.
    """
    table = SSH2_KexDB.get_db()
    notes: dict[AlgorithmNote, None] = {}
    for kind, algorithms in offered.items():
        short = kind.removesuffix("_to_device").removesuffix("_from_device")
        if short not in _TABLE:
            continue
        known = table[_TABLE[short]]
        for algorithm in algorithms:
            if is_marker(algorithm):
                continue
            entry = known.get(algorithm)
            if entry is None:
                pattern = next((name for name in known if "*" in name and fnmatch.fnmatchcase(algorithm, name)), None)
                entry = known[pattern] if pattern is not None else None
            if entry is None:
                notes[AlgorithmNote(algorithm, short, Severity.UNKNOWN, "not in ssh-audit's table")] = None
                continue
            for severity, reasons in zip(Severity, entry[1:4], strict=False):
                for reason in reasons:
                    if reason is not None:
                        notes[AlgorithmNote(algorithm, short, severity, reason)] = None
    return list(notes)
