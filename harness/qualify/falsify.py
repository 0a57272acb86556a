"""Which falsifications are known for a claim: a few for each kind, none of them does more than the testcases do."""

from __future__ import annotations

from harness.errors import UsageError
from harness.qualify import falsify_access as access
from harness.qualify import falsify_interfaces as interfaces
from harness.qualify import falsify_life as life
from harness.qualify.falsification import Falsification
from harness.rig import claims as kinds
from harness.rig.loading import Rig

__all__ = ["falsifications", "falsify"]


def falsifications(rig: Rig, claim_id: str) -> tuple[Falsification, ...]:
    """Return what is known to falsify a claim of the device file, nothing where nobody knows.

    Each says something that is false of a device that holds the claim, and asks no more of the device than the claim
    itself: fewer or the same attempts, shorter times, actions without effects.
    """
    device = rig.device
    match device.claims[claim_id]:
        case kinds.AccountClaim() as claim:
            return tuple(access.accounts(claim))
        case kinds.LockoutClaim() as claim:
            return tuple(access.lockout(claim))
        case kinds.IdleLogOffClaim() as claim:
            return tuple(access.idle_log_off(claim))
        case kinds.PermissionClaim() as claim:
            return tuple(access.permissions(claim, device))
        case kinds.SessionClaim() as claim:
            return tuple(access.sessions(claim))
        case kinds.PasswordRuleClaim() as claim:
            return tuple(access.password_rule(claim))
        case kinds.SshPolicyClaim() as claim:
            return tuple(access.ssh_policy(claim, rig))
        case kinds.AuditClaim() as claim:
            return tuple(access.audit(claim, device))
        case kinds.PortsClaim() as claim:
            return tuple(interfaces.ports(claim))
        case kinds.BootLockedClaim() as claim:
            return tuple(interfaces.boot_locked(claim))
        case kinds.BusCommandClaim() as claim:
            return tuple(interfaces.bus_commands(claim, device))
        case kinds.UdsServicesClaim() as claim:
            return tuple(interfaces.uds_services(claim))
        case kinds.SecurityAccessClaim() as claim:
            return tuple(interfaces.security_access(claim))
        case kinds.ModbusMapClaim() as claim:
            return tuple(interfaces.modbus_map(claim, device))
        case kinds.VersionClaim() as claim:
            return tuple(interfaces.version(claim))
        case kinds.AvailabilityClaim() as claim:
            return tuple(interfaces.availability(claim))
        case kinds.AlarmClaim() as claim:
            return tuple(interfaces.alarms(claim))
        case kinds.EssentialPerformanceClaim() as claim:
            return tuple(interfaces.essential_performance(claim))
        case kinds.PatientClaim() as claim:
            return tuple(life.patients(claim, device))
        case kinds.BackupClaim() as claim:
            return tuple(life.backup(claim))
        case kinds.RestoreClaim() as claim:
            return tuple(life.restore(claim))
        case kinds.UpdateClaim() as claim:
            return tuple(life.update(claim))
        case kinds.FirstUseClaim() as claim:
            return tuple(life.first_use(claim))
        case kinds.EndOfLifeClaim() as claim:
            return tuple(life.end_of_life(claim, device))
    return ()


def falsify(rig: Rig, claim_id: str, name: str) -> Rig:
    """Return the rig with a claim falsified in memory, by the falsification of that name.

    Raises:
        UsageError: the device has no such claim, or none such is known for it.
    """
    if claim_id not in rig.device.claims:
        raise UsageError(f"no claim {claim_id!r}", where=str(rig.device_path), hint="see `claims` of the device file")
    known = {each.name: each for each in falsifications(rig, claim_id)}
    if name not in known:
        raise UsageError(
            f"no falsification {name!r} of claim {claim_id}",
            where=str(rig.device_path),
            hint=f"known are: {', '.join(known) or 'none'}",
        )
    return known[name].of(rig, claim_id)
