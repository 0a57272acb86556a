"""How claims about the life of a device and its data are falsified: patients, backups, updates, first and last use."""

from __future__ import annotations

from collections.abc import Iterator

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


def patients(claim: PatientClaim) -> Iterator[Falsification]:
    """A role that may see patients is said not to; a text, and the list, end one sooner."""
    if len(claim.readers) > 1:
        how = f"role {claim.readers[-1]} may no longer read patients"
        yield Falsification(name="reader", how=how, claim=changed(claim, readers=claim.readers[:-1]))
    for field, most in list(claim.longest.items())[-1:]:
        how = f"{field} of {most - 1} characters at most instead of {most}"
        yield Falsification(name="longest", how=how, claim=changed(claim, longest={**claim.longest, field: most - 1}))


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
    """Refusals have other words."""
    if claim.refusals:
        refusals = dict.fromkeys(claim.refusals, "no such reason")
        how = "every refused update has another reason"
        yield Falsification(name="reason", how=how, claim=changed(claim, refusals=refusals))


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
    spec = device.surfaces[claim.surface]
    roles = [device.accounts[name].role for name in spec.accounts] if isinstance(spec, LogInSurface) else []
    for role in [role for role in dict.fromkeys(roles) if role not in claim.roles][:1]:
        how = f"role {role} may erase the device too"
        yield Falsification(name="role", how=how, claim=changed(claim, roles=(*claim.roles, role)))
