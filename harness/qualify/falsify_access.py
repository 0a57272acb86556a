"""How claims about access are falsified: accounts, lock-out, log-off, sessions, passwords, roles, SSH, audit log."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterator

from harness.qualify.falsification import Falsification, changed, shorter
from harness.rig.claims import (
    AccountClaim,
    AuditClaim,
    IdleLogOffClaim,
    LockoutClaim,
    PasswordRuleClaim,
    PermissionClaim,
    SessionClaim,
    SshPolicyClaim,
)
from harness.rig.device_file import DeviceFile, LogInSurface
from harness.rig.loading import Rig
from harness.rig.log_in_surface import ActionBase
from harness.rig.rig_file import SshLinkSpec

__all__ = [
    "accounts",
    "audit",
    "idle_log_off",
    "lockout",
    "password_rule",
    "permissions",
    "sessions",
    "ssh_policy",
]


def accounts(claim: AccountClaim) -> Iterator[Falsification]:
    """An account that is there is claimed no more."""
    *kept, last = claim.accounts or ("",)
    if kept:
        how = f"account {last!r} is no longer declared"
        yield Falsification(name="account", how=how, claim=changed(claim, accounts=kept))


def lockout(claim: LockoutClaim) -> Iterator[Falsification]:
    """Another number, another time, another scope."""
    other = claim.threshold - 1 or 2
    how = f"threshold {other} instead of {claim.threshold}"
    yield Falsification(name="threshold", how=how, claim=changed(claim, threshold=other))
    released = shorter(claim, "release")
    how = f"released after {released.release:g} s instead of {claim.release:g} s"
    yield Falsification(name="release", how=how, claim=released)
    scope = "surface" if claim.scope == "account" else "account"
    how = f"the lock is on the {scope} instead of the {claim.scope}"
    yield Falsification(name="scope", how=how, claim=changed(claim, scope=scope))


def idle_log_off(claim: IdleLogOffClaim) -> Iterator[Falsification]:
    """Half the time."""
    sooner = shorter(claim, "after")
    how = f"logged off after {sooner.after:g} s instead of {claim.after:g} s"
    yield Falsification(name="after", how=how, claim=sooner)


def permissions(claim: PermissionClaim, device: DeviceFile) -> Iterator[Falsification]:
    """One right too many for a role, and one right taken from a role: actions that change nothing."""
    fields = {codec.action for spec in _doors(claim.surfaces, device) for codec in spec.fields.values()}
    rights = [
        (role, name, name in claim.allowed.get(role, ()))
        for spec in _doors(claim.surfaces, device)
        for role in dict.fromkeys(device.accounts[account].role for account in spec.accounts)
        for name, action in spec.actions.items()
        if _harmless(action) and name not in fields
    ]
    for role, action, _ in [each for each in rights if not each[2]][:1]:
        allowed = {**claim.allowed, role: (*claim.allowed.get(role, ()), action)}
        how = f"role {role} may do {action!r} too"
        yield Falsification(name="right-too-many", how=how, claim=changed(claim, allowed=allowed))
    for role, action, _ in [each for each in rights if each[2]][:1]:
        allowed = {**claim.allowed, role: tuple(name for name in claim.allowed[role] if name != action)}
        how = f"role {role} may no longer do {action!r}"
        yield Falsification(name="right-taken", how=how, claim=changed(claim, allowed=allowed))


def sessions(claim: SessionClaim) -> Iterator[Falsification]:
    """Another number of sessions, longer tokens."""
    if claim.most is not None:
        other = claim.most - 1 or 2
        how = f"at most {other} sessions of an account instead of {claim.most}"
        yield Falsification(name="most", how=how, claim=changed(claim, most=other))
    if claim.token:
        how = "tokens have one character more"
        yield Falsification(name="token", how=how, claim=changed(claim, token=f"(?:{claim.token})."))


def password_rule(claim: PasswordRuleClaim) -> Iterator[Falsification]:
    """An example that follows the rule is said to break it, and the other way round."""
    for good in claim.accepted[:1]:
        how = "the first accepted example is to be refused"
        yield Falsification(
            name="refused", how=how, claim=changed(claim, refused={**claim.refused, "claimed to break the rule": good})
        )
    for why, bad in [each for each in claim.refused.items() if "{" not in each[1]][:1]:
        how = f"the example {why!r} is to be accepted"
        yield Falsification(name="accepted", how=how, claim=changed(claim, accepted=(*claim.accepted, bad)))


def ssh_policy(claim: SshPolicyClaim, rig: Rig) -> Iterator[Falsification]:
    """An algorithm and a method that are offered are no longer declared; another host key is pinned."""
    for kind, names in sorted(claim.algorithms.items(), key=lambda each: -len(each[1]))[:1]:
        how = f"{kind} {names[-1]!r} is no longer declared" if names else f"{kind} 'none' is declared"
        other = names[:-1] if names else ("none",)
        algorithms = {**claim.algorithms, kind: other}
        yield Falsification(name="algorithm", how=how, claim=changed(claim, algorithms=algorithms))
    if claim.methods:
        how = f"method {claim.methods[-1]!r} is no longer declared"
        yield Falsification(name="method", how=how, claim=changed(claim, methods=claim.methods[:-1]))
    spec = rig.file.links.get(claim.link)
    if isinstance(spec, SshLinkSpec):
        other_key = spec.model_copy(update={"host_key": _other_key(spec.host_key)})
        how = f"another host key is pinned for link {claim.link}"
        yield Falsification(name="host-key", how=how, links={claim.link: other_key})


def audit(claim: AuditClaim, device: DeviceFile) -> Iterator[Falsification]:
    """A record, and that of the clock, must hold what it does not; one more role reads; an answer holds one more."""
    kinds = {"record": next(iter(claim.records), ""), "clock": claim.clock.record if claim.clock is not None else ""}
    for name, kind in kinds.items():
        record = claim.records.get(kind)
        leaf = next(iter(record.leaves), "") if record is not None else ""
        if record is not None and leaf:
            leaves = {**record.leaves, leaf: "no-such-value"}
            records = {**claim.records, kind: record.model_copy(update={"leaves": leaves})}
            how = f"record {kind!r} must say {leaf}=no-such-value"
            yield Falsification(name=name, how=how, claim=claim.model_copy(update={"records": records}))
    if claim.shows is not None and claim.keeps is not None and claim.shows < claim.keeps:
        how = f"{claim.shows + 1} records are shown at once instead of {claim.shows}"
        yield Falsification(name="shows", how=how, claim=changed(claim, shows=claim.shows + 1))
    roles = [device.accounts[name].role for spec in _doors((claim.surface,), device) for name in spec.accounts]
    for role in [role for role in dict.fromkeys(roles) if role not in claim.readers][:1]:
        how = f"role {role} may read it too"
        yield Falsification(name="reader", how=how, claim=changed(claim, readers=(*claim.readers, role)))


def _doors(surfaces: tuple[str, ...], device: DeviceFile) -> list[LogInSurface]:
    found = [device.surfaces[name] for name in surfaces]
    return [spec for spec in found if isinstance(spec, LogInSurface)]


def _harmless(action: ActionBase) -> bool:
    """Whether a testcase that is told something wrong about it can do no harm with it."""
    return action.ready and not action.declined and not action.effects


def _other_key(pinned: str) -> str:
    """Return a key of the same kind, its last byte another."""
    kind, _, rest = pinned.partition(" ")
    blob = bytearray(b64decode(rest.split(" ")[0]))
    blob[-1] ^= 1
    return f"{kind} {b64encode(bytes(blob)).decode()}"
