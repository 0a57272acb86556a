"""A backup that is not what was backed up is refused, and nothing has changed then."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from dataclasses import replace

from harness.case import Case
from harness.device import backup_tamper
from harness.device.backup_layout import split
from harness.device.http import HttpSession, HttpSurface
from harness.device.outcomes import Accepted
from harness.procedures.restoring import Restoring
from harness.rig.claims import BackupClaim, RestoreClaim
from harness.rig.device_file import DeviceFile
from harness.rig.rig_file import Effect
from harness.testcase import About, Instance, contributes, each, each_surface, testcase, verifies

TAGS = [
    verifies("NMPA-2022/IGAU", "NMPA-2022/DTBK", "NMPA-2022/DATA-PII", "ANSM-2019/CRIT-I", "FDA-A1/D", "FDA-VC/REQ"),
    contributes("MDS2-2019/DTBK", "MDS2-2019/IGAU", "NMPA-2022/VV-THREAT"),
]
KINDS = {
    "changed": (backup_tamper.changed, ()),
    "cut": (backup_tamper.cut, ()),
    "swapped": (backup_tamper.swapped, ()),
    "family": (backup_tamper.foreign, ("family", "format")),
    "version": (backup_tamper.other_versions, ("version", "damaged")),
    "format": (backup_tamper.other_formats, ("format", "version", "damaged")),
}
"""How it is altered → what makes such backups, and why they must be refused where the claim tells reasons apart.

A device may check that a backup is authentic first: it finds another version damaged. Of another family it has to say
so, or nobody would know that it looks.
"""
EFFECTS = [Effect.ACCOUNTS, Effect.CONFIGURATION, Effect.DATA]


def kinds(device: DeviceFile) -> Iterator[Instance]:
    """Every way to alter a backup, for every claim about restores."""
    for claim_id, claim in device.claims_of(RestoreClaim).items():
        for kind in KINDS:
            yield Instance(f"{claim.surface}-{kind}", (claim_id, kind))


@testcase(
    "RESTORE-ALTERED",
    title="A backup that was altered, cut, put together anew or made for other devices is refused and changes nothing",
    tags=TAGS,
    about=About(property="integrity", phase="design", method="penetration", threat="a forged backup"),
    effects=EFFECTS,
    slow=True,
    severity="blocker",
)
@each("claim_id, kind", kinds)
def test_altered(case: Case, claim_id: str, kind: str) -> None:
    make, why = KINDS[kind]
    with Restoring(case, claim_id) as restoring:
        with case.step("Two states and their backups"):
            (_, present), (good, other) = restoring.two_states()
        altered = list(make(restoring.backup, good))
        case.check("altered backups", held=bool(altered) or None, expected="some", observed=len(altered))

        case.attack(restoring.claim.surface, f"{len(altered)} altered backups are restored")
        for title, blob in altered:
            with case.step(title):
                outcome = restoring.restore(blob)
                if not restoring.expect_refused(title, outcome, before=present, why=why or ALL):
                    return
        with case.step("Twin: the backup as it was made"):
            case.twin("the backup as it was made", restoring.restore(good))
            restoring.expect_state("after the backup as it was made", other)


ALL = ("format", "family", "version", "damaged")


@testcase(
    "RESTORE-HOSTILE",
    title="What is no backup at all, too much, or made to exhaust the device is refused and changes nothing",
    tags=[
        verifies("NMPA-2022/IGAU", "NMPA-2022/DTBK", "ANSM-2019/CRIT-I", "FDA-VC/VULN-ABUSE"),
        contributes("MDS2-2019/DTBK", "ANSM-2019/CRIT-D"),
    ],
    about=About(property="availability", phase="design", method="fuzz", threat="a hostile backup file"),
    effects=EFFECTS,
    slow=True,
    unqualified=True,
)
@each_surface(RestoreClaim)
def test_hostile(case: Case, claim_id: str, surface: str) -> None:
    with Restoring(case, claim_id) as restoring:
        with case.step("Two states and their backups"):
            (_, present), (good, other) = restoring.two_states()
        case.attack(surface, "files that are no backups are restored")
        for title, blob in hostile(restoring.backup, good):
            with case.step(title):
                outcome = restoring.restore(blob)
                if not restoring.expect_refused(title, outcome, before=present):
                    return
        if isinstance(restoring.door, HttpSurface):
            with case.step("A body that says it is compressed"):
                session = restoring.session(restoring.account)
                assert isinstance(session, HttpSession)
                bomb = zlib.compress(bytes(64 << 20), 9, wbits=31)
                request = session.request("restore", octets=bomb, passphrase=restoring.passphrase)
                request = replace(request, headers=(*request.headers, (b"Content-Encoding", b"gzip")))
                outcome = session.send(request, action="restore")
                if isinstance(outcome, Accepted):
                    restoring.forget()
                restoring.expect_refused("64 MiB of nothing, compressed", outcome, before=present)
        with case.step("Twin: a good backup"):
            case.twin("a good backup", restoring.restore(good))
            restoring.expect_state("after a good backup", other)


def hostile(claim: BackupClaim, good: bytes) -> Iterator[tuple[str, bytes]]:
    """Files that claim too much, or are nothing of the kind."""
    yield "nothing", b""
    yield "text", b"no backup"
    yield "zeros", bytes(4096)
    yield "as long as a backup, all ones", b"\xff" * len(good)
    yield "JSON", json.dumps({"users": [], "patients": []}).encode()
    yield "a compressed file of 64 MiB of nothing", zlib.compress(bytes(64 << 20), 9, wbits=31)
    yield "2.5 MiB behind a good backup", good + bytes((5 << 19) - len(good))
    parts = split(claim.layout, good) or {}
    for length in {part.size_in for part in claim.layout if part.size_in}:
        where = parts[length]
        for title, value in {"nothing": b"\0" * len(where), "all there is": b"\xff" * len(where)}.items():
            yield f"{length}: {title}", good[: where.start] + value + good[where.stop :]
    if claim.header:
        where, length = parts[claim.header], parts[next(p.size_in for p in claim.layout if p.name == claim.header)]
        most = min(256 ** len(length) - 1, 60_000)
        for title, head in {"deeply nested": b"[" * most, "one long text": b'{"' + b"A" * (most - 2)}.items():
            start = good[: length.start] + len(head).to_bytes(len(length))
            yield f"a header {title}", start + head + good[where.stop :]
