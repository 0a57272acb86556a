"""How claims about the life of a device and its data are falsified: patients, backups, updates, first and last use."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from harness.qualify.falsification import Falsification, changed, shorter
from harness.rig.claims import (
    BackupClaim,
    EndOfLifeClaim,
    FirstUseClaim,
    PatientClaim,
    RestoreClaim,
    UpdateClaim,
)
from harness.rig.device_file import DeviceFile, LogInSurface

__all__ = ["backup", "end_of_life", "first_use", "patients", "restore", "update"]


def patients(claim: PatientClaim, device: DeviceFile) -> Iterator[Falsification]:
    """A role that may see patients is said not to; a text ends one sooner; one more role may have the export."""
    if len(claim.readers) > 1:
        how = f"role {claim.readers[-1]} may no longer read patients"
        yield Falsification(name="reader", how=how, claim=changed(claim, readers=claim.readers[:-1]))
    for field, most in list(claim.longest.items())[-1:]:
        how = f"{field} of {most - 1} characters at most instead of {most}"
        yield Falsification(name="longest", how=how, claim=changed(claim, longest={**claim.longest, field: most - 1}))
    if claim.export:
        for role in _other_roles(claim.surface, claim.export.roles, device)[:1]:
            export = {**claim.export.model_dump(), "roles": (*claim.export.roles, role)}
            how = f"role {role} may have the export too"
            yield Falsification(name="export", how=how, claim=changed(claim, export=export))


def backup(claim: BackupClaim) -> Iterator[Falsification]:
    """What stands in every file must not stand in a backup; its own passphrase is to be refused."""
    how = "no byte at all may stand in a backup in clear"
    yield Falsification(name="lacks", how=how, claim=changed(claim, lacks=(*claim.lacks, "(?s).")))
    refused = {**claim.refused_passphrases, "claimed to be refused": claim.passphrase}
    how = "the passphrase that is accepted is to be refused"
    yield Falsification(name="passphrase", how=how, claim=changed(claim, refused_passphrases=refused))


def restore(claim: RestoreClaim) -> Iterator[Falsification]:
    """Sessions end, or do not; refusals have other words."""
    how = f"a restore ends {'no session' if claim.ends_sessions else 'every session'}"
    yield Falsification(name="sessions", how=how, claim=changed(claim, ends_sessions=not claim.ends_sessions))
    if claim.refusals:
        refusals = dict.fromkeys(claim.refusals, "no such reason")
        how = "every refused restore has another reason"
        yield Falsification(name="reason", how=how, claim=changed(claim, refusals=refusals))


def update(claim: UpdateClaim) -> Iterator[Falsification]:
    """Refusals have other words; no class of updates may change anything."""
    if claim.refusals:
        refusals = dict.fromkeys(claim.refusals, "no such reason")
        how = "every refused update has another reason"
        yield Falsification(name="reason", how=how, claim=changed(claim, refusals=refusals))
    if any(claim.classes.values()):
        how = "an update changes nothing on the interfaces, whatever its class"
        yield Falsification(name="classes", how=how, claim=changed(claim, classes=dict.fromkeys(claim.classes, ())))


def first_use(claim: FirstUseClaim) -> Iterator[Falsification]:
    """Another number of wrong codes, half the delay."""
    other = claim.wrong_codes - 1 or 2
    how = f"the delay starts with wrong code {other} instead of {claim.wrong_codes}"
    yield Falsification(name="wrong-codes", how=how, claim=changed(claim, wrong_codes=other))
    sooner = shorter(claim, "delay")
    how = f"a delay of {sooner.delay:g} s instead of {claim.delay:g} s"
    yield Falsification(name="delay", how=how, claim=sooner)


def end_of_life(claim: EndOfLifeClaim, device: DeviceFile) -> Iterator[Falsification]:
    """One more role may erase the device. The other way round a testcase would erase it unasked."""
    for role in _other_roles(claim.surface, claim.roles, device)[:1]:
        how = f"role {role} may erase the device too"
        yield Falsification(name="role", how=how, claim=changed(claim, roles=(*claim.roles, role)))


def _other_roles(surface: str, roles: Collection[str], device: DeviceFile) -> list[str]:
    """Return the roles of a surface's accounts that are not among `roles`."""
    spec = device.surfaces[surface]
    found = [device.accounts[name].role for name in spec.accounts] if isinstance(spec, LogInSurface) else []
    return [role for role in dict.fromkeys(found) if role not in roles]
